"""Phrases found in a text: Chinese and English in one walk, linear in the text's length.

A text becomes words: Chinese characters stand alone, letters and digits together, a closing mark
ends a sentence. A phrase is a row of such words; `word*` stands for every word that begins so, and
`~` skips up to five words of the same sentence. There is no regular expression to backtrack in.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from rewards.texts.text import CJK

ENDS = frozenset("!?.。;…~\n")

_WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+(?:'[a-z]+)?|[!?.。;…~\n]")
_PIECE = re.compile(rf"[{CJK}]|[^\W_{CJK}]+(?:'[a-z]+)?\*?|[!?.。;…\n]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_GAP = 5
_STEM = 4  # letters of the shortest stem, and those that stems are looked up by
_SHORTENED = frozenset(
    {"i'll", "we'll", "we're", "he'll", "she'll", "i'd", "she'd", "he'd", "we'd"}
)

Said = tuple[tuple[str, float], ...]
"""The signals that a phrase speaks for, each with its weight."""


class Match(NamedTuple):
    """A phrase found at words[start:end]."""

    phrase: tuple[str, ...]
    said: Said
    start: int
    end: int


def plain(text: str) -> str:
    """Folded: full-width letters, case, curly apostrophes; invisible characters are gone."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("`", "'")
    return _INVISIBLE.sub("", folded)


def words(text: str) -> list[str]:
    """The words of a plain text.

    >>> words("order又delay了? it's late")
    ['order', '又', 'delay', '了', '?', "it's", 'late']
    """
    return _WORD.findall(text)


class Phrases:
    """Weighted phrases of several signals. Raises ValueError for one that holds no word."""

    def __init__(self, lists: Iterable[tuple[str, float, str]]) -> None:
        self._said: dict[tuple[str, ...], Said] = {}
        self._gapped: list[tuple[str, float]] = []
        self._parts: dict[tuple[str, ...], tuple[tuple[int, int], ...]] = {}
        read = [(signal, weight, _read(phrase)) for signal, weight, phrase in lists]
        self._stems = _by_their_start(word for *_, rows in read for row in rows for word in row)
        for signal, weight, rows in read:
            self._add(signal, weight, rows)
        self._alone, self._lengths = self._index()

    def find(self, text: list[str]) -> list[Match]:
        """Every phrase in the words, but those that stand inside a longer one."""
        text = self._stemmed(text)
        found: list[Match] = []
        parts: dict[tuple[int, int], list[tuple[int, int]]] = {}
        covered = 0
        for start, pair in enumerate(zip(text, [*text[1:], ""], strict=False)):
            lengths = self._lengths.get(pair) or self._alone.get(pair[0])
            if lengths is None:
                continue
            for length in lengths:
                phrase, end = tuple(text[start : start + length]), start + length
                for part in self._parts.get(phrase, ()):
                    parts.setdefault(part, []).append((start, end))
                if end > covered and (said := self._said.get(phrase)):
                    covered = end
                    found.append(Match(phrase, said, start, end))
        return [*found, *self._bridged(parts, text)] if parts else found

    def _stemmed(self, text: list[str]) -> list[str]:
        """The words, with a stem in the place of those that begin with it."""
        stems = self._stems
        return [
            next((f"{s}*" for s in stems[word[:_STEM]] if word.startswith(s)), word)
            if word[:_STEM] in stems
            else word
            for word in text
        ]

    def _bridged(
        self, parts: Mapping[tuple[int, int], list[tuple[int, int]]], text: list[str]
    ) -> Iterator[Match]:
        for (number, side), before in parts.items():
            after = parts.get((number, 1)) if side == 0 else None
            if after is None:
                continue
            starts = [start for start, _ in after]
            for start, end in before:
                at = bisect_left(starts, end)
                if at == len(after) or starts[at] - end > _GAP:
                    continue
                if ENDS.isdisjoint(text[end : starts[at]]):
                    phrase = (*text[start:end], "~", *text[starts[at] : after[at][1]])
                    yield Match(phrase, (self._gapped[number],), start, after[at][1])
                    break

    def _add(self, signal: str, weight: float, rows: list[list[str]]) -> None:
        gapped = len(rows) == 2
        if gapped:
            self._gapped.append((signal, weight))
        for side, row in enumerate(rows):
            for spelling in _spellings(row):
                phrase = tuple(self._stemmed(spelling))
                if gapped:
                    known = self._parts.get(phrase, ())
                    self._parts[phrase] = (*known, (len(self._gapped) - 1, side))
                else:
                    said = dict(self._said.get(phrase, ()))
                    said[signal] = max(weight, said.get(signal, 0.0))
                    self._said[phrase] = tuple(said.items())

    def _index(self) -> tuple[dict[str, tuple[int, ...]], dict[tuple[str, str], tuple[int, ...]]]:
        """The lengths of the phrases that begin with a word, or a pair; the longest first."""
        known = {*self._said, *self._parts}
        alone: dict[str, tuple[int, ...]] = {p[0]: (1,) for p in known if len(p) == 1}
        lengths: dict[tuple[str, str], set[int]] = {}
        for phrase in known:
            if len(phrase) > 1:
                lengths.setdefault((phrase[0], phrase[1]), set()).add(len(phrase))
        ordered = {
            pair: (*sorted(some, reverse=True), *alone.get(pair[0], ()))
            for pair, some in lengths.items()
        }
        return alone, ordered


def _read(phrase: str) -> list[list[str]]:
    """Its rows of words: one, or the two that stand around a gap."""
    rows = [_PIECE.findall(plain(part)) for part in phrase.split("~")]
    if not all(rows) or len(rows) > 2:
        raise ValueError(f"phrase {phrase!r}: words are wanted, and around one `~` at most")
    short = [word for row in rows for word in row if word.endswith("*") and len(word) <= _STEM]
    if short:
        raise ValueError(f"phrase {phrase!r}: {short[0]} is too short, it takes {_STEM} letters")
    return rows


def _spellings(row: list[str]) -> list[list[str]]:
    """With its apostrophes, and without, as people type."""
    bare = [word if word in _SHORTENED else word.replace("'", "") for word in row]
    return [row] if bare == row else [row, bare]


def _by_their_start(words: Iterable[str]) -> dict[str, list[str]]:
    """Stems by their first letters, the longest first."""
    stems = {word[:-1] for word in words if word.endswith("*")}
    found: dict[str, list[str]] = {}
    for stem in sorted(stems, key=len, reverse=True):
        found.setdefault(stem[:_STEM], []).append(stem)
    return found
