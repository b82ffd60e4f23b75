"""Greetings, closing formulae and signatures: cut from the head and the end of a text.

The phrases are data (`boilerplate.yaml`). They are looked for only where a text begins, where one
of its last sentences begins and where one of its last lines begins, so the cost does not grow with
the text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from feedback_store.joined import Joined, Mask
from rlhf.config import Settings, load, validate
from rlhf.data.phrase_cues import BREAKS, Cues, cues

_BUILT_IN = Path(__file__).with_name("boilerplate.yaml")
_MARKS = r"[\s,，、。.!！?？~～:：;；…]"
_GAP = r"[^\n。！？!?]{0,20}?"
_PIECE = re.compile(r"[^\W_]+|\*")
_BREAK = rf"([{BREAKS}])\s*"
_BETWEEN = {"，": "。", "、": "。", "；": "。", ",": ".", ";": "."}
_TAIL = 160
_SHORT = 60
"""The longest signature that shares its line with the text: "... soon. Best regards, Ann"."""


Phrase = Annotated[str, Field(pattern=r"^\w", max_length=100)]
"""Words; begins with one, as it is found by it."""


class Phrases(Settings):
    """Phrases without content, by where they stand."""

    opening: tuple[Phrase, ...] = ()
    """At the head of a text."""
    closing: tuple[Phrase, ...] = ()
    """Whole sentences, or parts of one behind a comma, at the end of a text."""
    signature: tuple[Phrase, ...] = ()
    """At the head of one of the last sentences; what follows goes too."""


Heads = dict[str, re.Pattern[str]]
"""Phrases by the character that they begin with, in both cases: most texts end the search here."""


class Boilerplate(NamedTuple):
    """The phrases made ready."""

    opening: Heads
    closing: Heads
    signature: Heads
    boundary: re.Pattern[str]
    cues: Cues

    def cut(self, text: str) -> str:
        """The text without them."""
        return _cut(self.opening, self.closing, self.signature, self.boundary, text)

    def within(self, texts: Joined) -> Mask:
        """The texts that could hold one of them."""
        return self.cues.within(texts)


def boilerplate(more: Path | None = None) -> Boilerplate:
    """The built-in phrases and those of a file of the user's.

    Raises `UsageError` for a file that can't be used.
    """
    files = [_BUILT_IN] if more is None else [_BUILT_IN, more]
    read = [validate(Phrases, load(file), str(file)) for file in files]
    given = [
        [phrase for phrases in read for phrase in getattr(phrases, where)]
        for where in Phrases.model_fields
    ]
    opening, closing, signature = map(_by_head, given)
    heads = re.escape("".join(closing.keys() | signature.keys()))
    boundary = re.compile(f"{_BREAK}(?=[{heads}])")
    return Boilerplate(opening, closing, signature, boundary, cues(given[0], given[1] + given[2]))


def _by_head(phrases: Iterable[str]) -> Heads:
    spelt: dict[str, list[str]] = defaultdict(list)
    for phrase in phrases:
        for head in {phrase[0].lower(), phrase[0].upper()}:
            spelt[head].append(_spelt(phrase))
    return {head: _any_of(spellings) for head, spellings in spelt.items()}


def _spelt(phrase: str) -> str:
    pieces = [_GAP if piece == "*" else piece for piece in _PIECE.findall(phrase)]
    return f"{_MARKS}{{0,3}}".join(pieces)


def _any_of(spellings: list[str]) -> re.Pattern[str]:
    """One of the phrases and the marks behind it: "你好像" is not the phrase 你好."""
    return re.compile(rf"(?:{'|'.join(spellings)})(?:{_MARKS}+|\Z)", re.IGNORECASE)


def _cut(
    opening: Heads, closing: Heads, signature: Heads, boundary: re.Pattern[str], text: str
) -> str:
    start, end = 0, len(text)
    while found := _at(opening, text, start, end):
        start = found.end()
    while (
        earlier := _end(
            closing, signature, boundary.finditer(text, max(start, end - _TAIL), end), end
        )
    ) < end:
        end = earlier
    if (start, end) == (0, len(text)) or not _PIECE.search(text, start, end):
        return text  # a greeting that is all of a text is what its writer had to say
    kept = text[start:end].rstrip()
    return kept[:-1] + _BETWEEN[kept[-1]] if kept[-1] in _BETWEEN else kept


def _at(heads: Heads, text: str, at: int, end: int) -> re.Match[str] | None:
    pattern = heads.get(text[at]) if at < end else None
    return pattern.match(text, at, end) if pattern else None


def _end(closing: Heads, signature: Heads, boundaries: Iterable[re.Match[str]], end: int) -> int:
    """Where the text ends without its last formulae and signature; read from the last back."""
    for boundary in reversed(list(boundaries)):
        text, at = boundary.string, boundary.end()
        closes = _at(closing, text, at, end)
        near = end - at <= _SHORT or "\n" in boundary[0]
        signed = near and boundary[1] not in _BETWEEN and _at(signature, text, at, end)
        if signed or (closes and closes.end() == end):
            end = at
    return end
