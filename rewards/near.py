"""Tell whether the words that a rule needs stand near each other, and not just in one answer.

All words of one match lie within its reach, and those of a rule's `with` in the sentence where the
match begins. Of long answers that hold a rule's words nearly all are spared the search by this.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

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


def near(
    groups: Sequence[Sequence[Placed]], words: Words, first: int, ends: Sequence[int]
) -> bool:
    """Tell whether a match can begin in an answer, whose sentences end at `ends`.

    `groups` holds the ways in which it can match, and those of each pattern in `with`.
    """
    own, *others = groups
    tried = -1
    for need in own:
        for place in _together(need, words, first, ends[-1]):
            if not others:
                return True
            # The match may begin a reach before the word, in a sentence before its own.
            for at in range(bisect_right(ends, place - need[1]), bisect_right(ends, place) + 1):
                if at != tried and _holds(others, words, ends[at - 1] if at else first, ends[at]):
                    return True
                tried = at
    return False


def _holds(groups: Sequence[Sequence[Placed]], words: Words, first: int, last: int) -> bool:
    """Tell whether a sentence holds what every pattern of `with` needs."""
    return all(any(any(_together(n, words, first, last)) for n in group) for group in groups)


def _together(need: Placed, words: Words, first: int, last: int) -> Iterator[int]:
    """Yield where a word of the first clause stands with words of the others within reach."""
    clauses, reach = need
    if not clauses:
        yield first
        return
    head, *rest = (words[clause] for clause in clauses)
    for place in head[bisect_left(head, first) : bisect_left(head, last)]:
        low, high = max(first, place - reach), min(last, place + reach + 1)
        if all(_any(places, low, high) for places in rest):
            yield place


def _any(places: Sequence[int], low: int, high: int) -> bool:
    at = bisect_left(places, low)
    return at < len(places) and places[at] < high
