"""Compliance at serving: what of an answer users may see.

A check that is not done in time counts as broken (`unchecked`): nothing unchecked is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rewards import RewardError
from rewards.rules import load_rules
from rewards.texts.text import is_chinese
from rlhf.chat import Message
from rlhf.config import existing_path
from rlhf.errors import UsageError
from rlhf.serving.checkers import Checkers
from rlhf.serving.settings import ScreenSettings

UNCHECKED: Final = ("unchecked",)

_HOLD = 400  # characters of one sentence that are held back, before it is checked as it stands
_TAIL = 80  # of such a sentence's end that stay back: what breaks a rule may be half there
_CONTEXT = 800  # characters already shown that are read again with what is new
_STEP = 40  # new characters that are worth a check
_SENTENCE_END = re.compile(r"[。！？!?；;\n]|\.(?=\s)")


class Screen:
    """Checks answers in processes of its own; close it. Raises `UsageError` for unusable rules."""

    def __init__(self, settings: ScreenSettings, base: Path) -> None:
        self._settings = settings
        rules = existing_path(settings.rules, base).resolve() if settings.rules else None
        try:
            load_rules(rules)
        except RewardError as error:
            raise UsageError(str(error)) from error
        self._checkers = Checkers(rules, settings.seconds)

    async def start(self) -> None:
        """Make ready, so that the first answer doesn't wait for it; a check does it otherwise."""
        if self._settings.enabled:
            await self._checkers.start()

    async def close(self) -> None:
        """End the processes."""
        await self._checkers.close()

    async def check(self, prompt: str, answer: str) -> tuple[str, ...]:
        """The names of the rules that an answer breaks, or `UNCHECKED`; () passes."""
        if not self._settings.enabled or not answer.strip():
            return ()
        names = await self._checkers.ask(prompt, answer)
        return UNCHECKED if names is None else tuple(names)

    def refusal(self, messages: Sequence[Message]) -> str:
        """What stands in a blocked answer's place, in the language of the user's last turn."""
        asked = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        chinese = is_chinese(asked[:2_000])
        return self._settings.refusal_zh if chinese else self._settings.refusal_en

    def stream(self, prompt: str) -> Stream:
        """A new answer that will come in pieces."""
        return Stream(self, prompt, everything=not self._settings.enabled)


class Stream:
    """What of a growing answer may be shown: whole sentences that a check passed.

    Sentences are checked with the text before them, up to a bound, so that the work grows with the
    answer's length and not with its square. A sentence that breaks a rule is held back, with all
    after it, since a disclaimer may still come. The end checks the whole answer and has the last
    word: with `broken` the stream ends as `content_filter`, and what is recorded is `shown` and
    the refusal, as the user saw them.
    """

    def __init__(self, screen: Screen, prompt: str, *, everything: bool = False) -> None:
        self._screen, self._prompt, self._everything = screen, prompt, everything
        self._text = ""
        self._shown = 0
        self._ended = 0  # where the last whole sentence ends
        self._scanned = 0
        self._next = 1  # how long the text must be for the next check
        self.broken: tuple[str, ...] = ()
        """Set by `end`: the rules that the answer breaks."""

    @property
    def text(self) -> str:
        """All that was fed."""
        return self._text

    @property
    def shown(self) -> str:
        """What was given out to be shown."""
        return self._text[: self._shown]

    async def feed(self, piece: str) -> str:
        """Take in a piece; returns what may be shown now, often nothing."""
        self._text += piece
        if self._everything:
            return self._show(len(self._text))
        cut = self._cut()
        if cut < self._next or cut <= self._shown:
            return ""
        start = max(0, self._shown - _CONTEXT)
        if await self._screen.check(self._prompt, self._text[start:cut]):
            # Twice as much text before the next look: the work stays linear while it is held.
            self._next = cut + max(_STEP, cut - self._shown)
            return ""
        self._next = cut + _STEP
        return self._show(cut)

    async def end(self) -> str:
        """The answer is whole; returns the rest that may be shown, or sets `broken`."""
        self.broken = await self._screen.check(self._prompt, self._text)
        return "" if self.broken else self._show(len(self._text))

    def _cut(self) -> int:
        """Where what may be checked now ends."""
        for match in _SENTENCE_END.finditer(self._text, self._scanned):
            self._ended = match.end()
        # The last character is looked at again: whether a full stop ends a sentence, the next says.
        self._scanned = max(self._ended, len(self._text) - 1)
        if len(self._text) - max(self._ended, self._shown) > _HOLD:
            return len(self._text) - _TAIL
        return self._ended

    def _show(self, cut: int) -> str:
        piece = self._text[self._shown : cut]
        self._shown = cut
        return piece
