"""Tell whether the words that a rule needs stand near each other, and not just in one answer.

All words of one match lie within its reach, and those of a rule's `with` in the sentence where the
match begins. Of long answers that hold a rule's words nearly all are spared the search by this.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.texts import characters as ch
from rewards.texts.batch import Batch
from rewards.texts.hashing import Places

Flags = NDArray[np.bool_]
Span = tuple[int, int]
Placed = tuple[tuple[int, ...], int, int]
"""A `rewards.texts.literals.Need` with numbers for its clauses."""


class Found(NamedTuple):
    """Where the words of some clauses stand in a batch, and where its sentences end."""

    words: dict[int, list[int]]
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
        {number: places[part].tolist() for number, part in zip(numbers, parts, strict=True)},
        {number: inside[part] for number, part in zip(numbers, parts, strict=True)},
        ends,
    )


def _sentence_ends(batch: Batch) -> Places:
    """Return where sentences end for certain: a full stop before a quotation mark may end none."""
    at = batch.breaks[0][:-1]  # the last is behind all texts
    sure = (batch.kinds[at] & ch.DOT == 0) | (batch.kinds[at + 1] & ch.SPACE > 0)
    ends: Places = at[sure] + 1
    return ends


def holding(
    batch: Batch, groups: Sequence[Sequence[Placed]], of: Found, rows: Flags
) -> dict[int, list[Span]]:
    """Return the sentences of these rows that hold what each group asks for, in one of its ways."""
    called = [[_all(need, of) for need in group] for group in groups]
    ok = np.flatnonzero(np.logical_and.reduce([np.logical_or.reduce(ways) for ways in called]))
    ok = ok[(ok > 0) & (ok < len(of.ends))]  # before the first text and behind the last is none
    first, last = of.ends[ok - 1], of.ends[ok]
    spans: dict[int, list[Span]] = defaultdict(list)
    for row, *span in np.stack([batch.rows(last - 1), first, last], axis=1).tolist():
        if rows[row]:
            spans[row].append((span[0], span[1]))
    return spans


def _all(need: Placed, of: Found) -> Flags:
    flags = np.ones(len(of.ends) + 1, np.bool_)
    for clause in need[0]:
        held = np.zeros_like(flags)
        held[of.sentences[clause]] = True
        flags &= held
    return flags


def near(needs: Sequence[Placed], of: Found, row: Span, begins: Sequence[Span]) -> bool:
    """Tell whether a match in a row can begin in one of some spans of it."""
    return any(_together(need, of.words, row, *span) for need in needs for span in begins)


def _together(need: Placed, words: dict[int, list[int]], row: Span, first: int, last: int) -> bool:
    """Tell whether words of all clauses stand within reach, the match between first and last."""
    clauses, reach, before = need
    if not clauses:
        return True
    head, *rest = (words[clause] for clause in clauses)
    until = min(row[1], last + reach + before)
    for place in head[bisect_left(head, first) : bisect_left(head, until)]:
        low, high = max(row[0], place - reach), min(row[1], place + reach + 1)
        if all(_any(places, low, high) for places in rest):
            return True
    return False


def _any(places: list[int], low: int, high: int) -> bool:
    at = bisect_left(places, low)
    return at < len(places) and places[at] < high
