"""Tell whether the words that a rule needs stand near each other, and not just in one answer.

All words of one match lie within its reach, and those of a rule's `with` in the sentence where the
match begins. Of long answers that hold a rule's words nearly all are spared the search by this.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rewards.texts import characters as ch
from rewards.texts.batch import Batch
from rewards.texts.hashing import Places

Placed = tuple[tuple[int, ...], int]
"""A need: the numbers of its clauses, and its reach."""
Words = Mapping[int, Sequence[int]]
"""Where the words of each clause stand, in order."""


def words_of(clauses: set[int], clause: NDArray[np.intp], at: Places) -> Words:
    """Collect the places of these clauses' words, of all that were found in a batch."""
    wanted = np.zeros(max(clauses) + 1, np.bool_)
    wanted[list(clauses)] = True
    some = clause <= max(clauses)
    some[some] = wanted[clause[some]]
    keys = np.unique((clause[some] << 32) | at[some])
    places = (keys & 0xFFFFFFFF).tolist()
    ends = np.searchsorted(keys, [(number + 1) << 32 for number in sorted(clauses)]).tolist()
    return {
        number: places[first:last]
        for number, first, last in zip(sorted(clauses), [0, *ends], ends, strict=False)
    }


def sentence_ends(batch: Batch) -> list[int]:
    """Return where sentences end for certain: a full stop before a quotation mark may end none."""
    at = batch.breaks[0][:-1]  # the last is behind all texts
    sure = (batch.kinds[at] & ch.DOT == 0) | (batch.kinds[at + 1] & ch.SPACE > 0)
    ends: list[int] = (at[sure] + 1).tolist()
    return ends


def near(groups: Sequence[Sequence[Placed]], words: Words, spans: Sequence[tuple[int, int]]) -> bool:
    """Tell whether a match can begin in one of an answer's sentences.

    `groups` holds the ways in which it can match, and those of each pattern in `with`.
    """
    if not groups:
        return True
    own, *others = groups
    for first, last in spans if others else [(spans[0][0], spans[-1][1])]:
        if all(any(_meets(need, words, first, last, 0) for need in other) for other in others):
            if any(_meets(need, words, first, last, need[1]) for need in own):
                return True
    return False


def _meets(need: Placed, words: Words, first: int, last: int, beyond: int) -> bool:
    """Tell whether a word of each clause stands between two places, near the other words."""
    clauses, reach = need
    if not clauses:
        return True
    head, *rest = (words[clause] for clause in clauses)
    for place in head[bisect_left(head, first) : bisect_left(head, last + beyond)]:
        low, high = max(first, place - reach), min(last + beyond, place + reach + 1)
        if all(_any(places, low, high) for places in rest):
            return True
    return False


def _any(places: Sequence[int], low: int, high: int) -> bool:
    at = bisect_left(places, low)
    return at < len(places) and places[at] < high
