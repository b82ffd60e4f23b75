"""In which of many texts a phrase could stand at the head, or behind a mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback_store.joined import Joined, Kinds, Mask, kinds_of, next_to

BREAKS = r"。！？!?.\n，,；;"
_BREAK, _SPACE, _OPENING, _ENDING, _PAIR, _SECOND = (1 << bit for bit in range(6))


class Cues(NamedTuple):
    """How phrases begin."""

    table: Kinds
    opening: re.Pattern[str]
    ending: re.Pattern[str]

    def within(self, texts: Joined) -> Mask:
        """The texts in which a phrase could begin where one is looked for."""
        kinds = texts.kinds(self.table)
        heads = texts.starts[kinds[texts.starts] & _OPENING > 0]
        mark, space = kinds & _BREAK > 0, kinds & _SPACE > 0
        head = (kinds & _ENDING > 0) | next_to(kinds & _PAIR > 0, kinds & _SECOND > 0)
        behind = np.flatnonzero(next_to(mark, head)) + 1
        further = np.flatnonzero(next_to(mark, next_to(space, head))) + 2
        found = texts.with_any(next_to(mark, next_to(space, space)))
        for begins, at in ((self.opening, heads), (self.ending, behind), (self.ending, further)):
            found[np.searchsorted(texts.ends, _matching(begins, texts.text, at))] = True
        return found


def cues(opening: Sequence[str], ending: Sequence[str]) -> Cues:
    """Of phrases at the head, and of those behind a mark."""
    paired = [phrase for phrase in ending if _is_sure(phrase[1:2])]
    heads = {
        _OPENING: {case for phrase in opening for case in _cases(phrase[0])},
        _ENDING: {case for phrase in {*ending} - {*paired} for case in _cases(phrase[0])},
        _PAIR: {case for phrase in paired for case in _cases(phrase[0])},
        _SECOND: {phrase[1] for phrase in paired},
    }
    classes = {_BREAK: f"[{BREAKS}]", _SPACE: r"\s"}
    for bit, chars in heads.items():
        classes[bit] = f"[{''.join(sorted(chars))}]" if chars else "(?!)"
    return Cues(kinds_of(classes), _beginning(opening), _beginning(ending))


def _beginning(phrases: Iterable[str]) -> re.Pattern[str]:
    """Finds a phrase by its first character, in both cases, and those behind that have no case."""
    begins = (
        f"[{''.join(sorted(_cases(phrase[0])))}]" + "".join(takewhile(_is_sure, phrase[1:]))
        for phrase in phrases
    )
    return re.compile("|".join(sorted(set(begins))) or "(?!)")


def _cases(char: str) -> set[str]:
    return {char.lower(), char.upper()}


def _is_sure(char: str) -> bool:
    return char.isalnum() and not char.isascii() and len(_cases(char)) == 1


def _matching(pattern: re.Pattern[str], text: str, places: NDArray[np.intp]) -> list[int]:
    return [at for at in places.tolist() if pattern.match(text, at)]
