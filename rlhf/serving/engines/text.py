"""Token ids to text, piece by piece, so that the pieces add up to the text of the whole answer.

A token may end within a character (most Chinese ones are two or three tokens of some vocabularies),
within a text that ends the answer, or in white space that the whole answer would be stripped of.
What is not certain yet is held back until it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_HALF = "\N{REPLACEMENT CHARACTER}"
_LONGEST_HALF = 3  # bytes, and so tokens, of a character that isn't whole


class Characters:
    """What a growing list of tokens says, as far as it is settled."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # A decoder may join a token to the one before it, so the last settled ones are read again.
        self._settled = 0
        """Tokens of `_ids` that end in a whole character."""
        self._given = 0
        """Characters of `_ids`, decoded, that were handed out."""

    def add(self, token: int) -> str:
        """The characters that this token makes whole."""
        self._ids.append(token)
        text = self._decoded(self._ids)
        if not text.endswith(_HALF):
            piece = text[self._given :]
            self._ids = self._ids[self._settled :]
            self._settled = len(self._ids)
            self._given = len(self._decoded(self._ids))
            return piece
        sure = len(text.rstrip(_HALF))
        if len(self._ids) - self._settled > _LONGEST_HALF:  # no character takes so long
            sure = max(sure, len(text) - _LONGEST_HALF)
        return self._give(text, sure)

    def end(self) -> str:
        """What is left; half a character is told as U+FFFD, as a decoder tells it."""
        text = self._decoded(self._ids)
        return self._give(text, len(text))

    def _give(self, text: str, until: int) -> str:
        piece = text[self._given : until]
        self._given = max(self._given, until)
        return piece

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


class Shown:
    """A growing text: ends before the first stop text, and has no white space around it."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(s for s in stop if s)
        self._held = ""
        self._begun = False
        self.stopped = False
        """Whether a stop text was met; nothing comes after it."""

    def add(self, piece: str) -> str:
        """What can be shown since the piece before."""
        if self.stopped or not piece:
            return ""
        text = self._held + piece
        found = [at for at in map(text.find, self._stop) if at >= 0]
        if found:
            self.stopped = True
            sure, self._held = text[: min(found)].rstrip(), ""
        else:
            # White space is held too: it is part of the answer only if something follows.
            sure = text[: len(text) - self._maybe_stop(text)].rstrip()
            self._held = text[len(sure) :]
        if not self._begun:
            sure = sure.lstrip()
            self._begun = bool(sure)
        return sure

    def end(self) -> str:
        """The rest, once nothing comes any more."""
        rest, self._held = self._held.rstrip(), ""
        return rest if self._begun else rest.lstrip()

    def _maybe_stop(self, text: str) -> int:
        """Characters at the end that may be the beginning of a stop text."""
        longest = max(map(len, self._stop), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(s.startswith(text[-size:]) for s in self._stop):
                return size
        return 0


class Answer:
    """The text of one answer, from its tokens."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._characters = Characters(tokenizer)
        self._shown = Shown(stop)

    @property
    def stopped(self) -> bool:
        return self._shown.stopped

    def add(self, token: int) -> str:
        """What can be shown since the token before."""
        return self._shown.add(self._characters.add(token))

    def end(self) -> str:
        """The rest, once no token comes any more."""
        return self._shown.add(self._characters.end()) + self._shown.end()
