"""In which of many texts a phrase could stand at the head, or behind a mark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback_store.joined import Joined, Kinds, Mask, kinds_of, next_to

BREAKS = r"。！？!?.\n，,；;"
_BREAK, _SPACE, _OPENING, _ENDING = (1 << bit for bit in range(4))
_BITS = np.uint64(21)  # of a code point

Pairs = NDArray[np.uint64]


class Cues(NamedTuple):
    """The first two characters of phrases, as far as they are sure."""

    table: Kinds
    opening: Pairs
    ending: Pairs

    def within(self, texts: Joined) -> Mask:
        """The texts in which a phrase could begin where one is looked for."""
        kinds = texts.kinds(self.table)
        heads = texts.starts[kinds[texts.starts] & _OPENING > 0]
        found = _marked(texts, heads[_begin(texts.codes, heads, self.opening)])
        mark, space, head = (kinds & kind > 0 for kind in (_BREAK, _SPACE, _ENDING))
        behind = np.flatnonzero(next_to(mark, head)) + 1
        further = np.flatnonzero(next_to(mark, next_to(space, head))) + 2
        at = np.concatenate([behind, further])
        found |= _marked(texts, at[_begin(texts.codes, at, self.ending)])
        return found | texts.with_any(next_to(mark, next_to(space, space)))


def cues(opening: Sequence[str], ending: Sequence[str]) -> Cues:
    """Of phrases at the head, and of those behind a mark."""
    classes = {_BREAK: f"[{BREAKS}]", _SPACE: r"\s"}
    for bit, phrases in ((_OPENING, opening), (_ENDING, ending)):
        first = {case for phrase in phrases for case in _cases(phrase[0])}
        classes[bit] = f"[{''.join(sorted(first))}]" if first else "(?!)"
    return Cues(kinds_of(classes), _pairs(opening), _pairs(ending))


def _cases(char: str) -> set[str]:
    return {char.lower(), char.upper()}


def _pairs(phrases: Iterable[str]) -> Pairs:
    """Each phrase's first two characters; 0 for the second where it may be another."""
    found = set()
    for phrase in phrases:
        second = phrase[1:2]
        sure = second.isalnum() and not second.isascii() and len(_cases(second)) == 1
        found |= {ord(c) << int(_BITS) | (ord(second) if sure else 0) for c in _cases(phrase[0])}
    return np.array(sorted(found), np.uint64)


def _begin(codes: NDArray[np.uint32], at: NDArray[np.intp], pairs: Pairs) -> Mask:
    first = codes[at].astype(np.uint64) << _BITS
    second = codes[at + 1].astype(np.uint64)  # at worst the line end behind the text
    return np.isin(first | second, pairs) | np.isin(first, pairs)


def _marked(texts: Joined, at: NDArray[np.intp]) -> Mask:
    found = np.zeros(len(texts.texts), np.bool_)
    found[np.searchsorted(texts.ends, at)] = True
    return found
