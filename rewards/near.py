"""Tell whether the words that a rule needs stand near each other, and not just in one answer.

All words of one match lie within its reach, and those of a rule's `with` in the sentence where the
match begins. Of long answers that hold a rule's words nearly all are spared the search by this.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.texts import characters as ch
from rewards.texts.batch import Batch
from rewards.texts.hashing import Places

Flags = NDArray[np.bool_]
Placed = tuple[tuple[int, ...], int, int]
"""A `rewards.texts.literals.Need` with numbers for its clauses."""


class Found(NamedTuple):
    """Where the words of some clauses stand in a batch, and where its sentences end."""

    words: dict[int, Places]
    sentences: dict[int, Places]
    """The number of the sentence that each word begins in."""
    ends: Places


def found(batch: Batch, clauses: Iterable[int], clause: Places, at: Places) -> Found:
    """Sort the words of these clauses, among all that begin at `at`."""
    numbers = sorted(clauses)
    wanted = np.zeros(max([*numbers, clause.max(initial=0)]) + 1, np.bool_)
    wanted[numbers] = True
    some = wanted[clause]
    keys = np.sort((clause[some] << 32) | at[some])
    places, ends = keys & 0xFFFFFFFF, _sentence_ends(batch)
    inside = np.searchsorted(ends, places, side="right")
    edges = [0, *np.searchsorted(keys, [(number + 1) << 32 for number in numbers]).tolist()]
    parts = [slice(*edge) for edge in pairwise(edges)]
    return Found(
        {number: places[part] for number, part in zip(numbers, parts, strict=True)},
        {number: inside[part] for number, part in zip(numbers, parts, strict=True)},
        ends,
    )


def _sentence_ends(batch: Batch) -> Places:
    """Return where sentences end for certain: a full stop before a quotation mark may end none."""
    at = batch.breaks[0][:-1]  # the last is behind all texts
    sure = (batch.kinds[at] & ch.DOT == 0) | (batch.kinds[at + 1] & ch.SPACE > 0)
    ends: Places = at[sure] + 1
    return ends


def holding(groups: Sequence[Sequence[Placed]], of: Found) -> Flags:
    """Tell the sentences that hold what each group asks for, in one of its ways."""
    called = [[_all(need, of) for need in group] for group in groups]
    ok: Flags = np.logical_and.reduce([np.logical_or.reduce(ways) for ways in called])
    return ok


def _all(need: Placed, of: Found) -> Flags:
    flags = np.ones(len(of.ends) + 1, np.bool_)
    for clause in need[0]:
        held = np.zeros_like(flags)
        held[of.sentences[clause]] = True
        flags &= held
    return flags


def near(needs: Sequence[Placed], of: Found, first: int, last: int, ok: Flags | None) -> bool:
    """Tell whether a match can begin between two places, in a sentence that is `ok`."""
    for need in needs:
        for place in _together(need, of.words, first, last):
            if ok is None:
                return True
            begins = bisect_right(of.ends, max(first, place - need[1] - need[2]))
            if ok[begins : bisect_right(of.ends, place) + 1].any():
                return True
    return False


def _together(need: Placed, words: dict[int, Places], first: int, last: int) -> Iterator[int]:
    """Yield where a word of the first clause stands with words of the others within reach."""
    clauses, reach, _ = need
    if not clauses:
        yield last
        return
    head, *rest = (words[clause] for clause in clauses)
    for place in head[bisect_left(head, first) : bisect_left(head, last)].tolist():
        low, high = max(first, place - reach), min(last, place + reach + 1)
        if all(_any(places, low, high) for places in rest):
            yield place


def _any(places: Places, low: int, high: int) -> bool:
    at = bisect_left(places, low)
    return at < len(places) and bool(places[at] < high)
