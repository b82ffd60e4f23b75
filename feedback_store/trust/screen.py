"""Which sides of many things could be a push: a quick look at all, to judge few of them.

Nobody can be found out of turn by it: it lets everything through that the judgement could test.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback_store.trust.ballots import Ballots, Ints
from feedback_store.trust.chance import binomial_terms
from feedback_store.trust.groups import LEAST, Runs

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CROWDED = 0.05
"""A window is looked at where its crowding is less likely than this."""
# Sums are rounded in another order than the judgement's: what is about even is let through.
_SLACK = 1e-6


class Look(NamedTuple):
    """What each thing could be."""

    one_sided: Flags
    crowded: Flags
    """Whether a window of time could hold a one-sided burst."""


class _Timeline:
    """Votes by thing and time, to be counted between two moments of many things at once."""

    def __init__(self, ballots: Ballots, usual: Floats, side: Runs, longest: int) -> None:
        self.began = int(ballots.when.min())
        # Longer than all votes and the longest window: no window reaches into the next thing.
        self.span = int(ballots.when.max()) - self.began + longest + 1
        keys = self.keys(side.thing, ballots.when[side.votes])
        order = np.argsort(keys)
        self.sorted = keys[order]
        self.sums = np.concatenate([[0.0], np.cumsum(usual[side.votes[order]])])

    def keys(self, thing: Ints, when: Ints) -> Ints:
        return np.asarray(thing * self.span + (when - self.began))

    def between(self, thing: Ints, low: Ints, high: Ints) -> tuple[Ints, Floats]:
        """How many votes, and the sum of their usual chances."""
        start = np.searchsorted(self.sorted, self.keys(thing, low))
        end = np.searchsorted(self.sorted, self.keys(thing, high), side="right")
        return end - start, self.sums[end] - self.sums[start]


def look(
    ballots: Ballots,
    usual: Floats,
    times: Ints,
    support: Runs,
    against: Runs,
    windows: tuple[int, ...],
) -> Look:
    """Look at things that all have support; `usual` is each vote's chance to go its way.

    `times` are all votes' moments in their order.
    """
    things = np.arange(len(support.sizes))
    if not len(things):
        return Look(np.zeros(0, bool), np.zeros(0, bool))
    fors = _Timeline(ballots, usual, support, max(windows))
    others = _Timeline(ballots, usual, against, max(windows))
    sums = np.diff(fors.sums[support.starts])
    one_sided = _one_sided(sums, support.sizes, against.sizes)
    crowded = np.zeros(len(things), bool)
    keys = _first_votes(ballots, support, fors)
    thing, when = keys // fors.span, keys % fors.span + fors.began
    starts = np.searchsorted(thing, np.arange(len(things) + 1))
    voters = np.diff(starts)
    place = np.arange(len(keys))
    for length in windows:
        ends = np.searchsorted(keys, keys + length, side="right")
        at = _first_peaks(ends - place, thing, starts)
        low, high, count = when[at], when[ends[at] - 1], ends[at] - at
        inside = np.searchsorted(times, high, "right") - np.searchsorted(times, low)
        chance = np.minimum(1.0, 4 * (inside / len(times)))
        likely = len(windows) * voters * binomial_terms(count - 1, voters - 1, chance)
        many = count - 1 > ((voters - 1) * chance).astype(np.int64)
        here, sums = fors.between(things, low, low + length)
        there, _ = others.between(things, low, low + length)
        crowded |= (
            many & (likely < CROWDED + _SLACK) & (here >= LEAST) & _one_sided(sums, here, there)
        )
    return Look(one_sided, crowded)


def _one_sided(sums: Floats, support: Ints, against: Ints) -> Flags:
    """`Crowd.is_one_sided`, a little more generous."""
    usual = sums / np.maximum(support, 1)
    return np.asarray(against <= (1 - usual) / 3 * (support + against) + _SLACK)


def _first_votes(ballots: Ballots, side: Runs, timeline: _Timeline) -> Ints:
    """The key of each voter's first vote on each thing, in order."""
    # A thing's votes go by voter, as all ballots do.
    voter = ballots.voter[side.votes]
    new = (np.diff(side.thing, prepend=-1) != 0) | (np.diff(voter, prepend=-1) != 0)
    keys = timeline.keys(side.thing, ballots.when[side.votes])
    return np.sort(np.minimum.reduceat(keys, np.flatnonzero(new)))


def _first_peaks(counts: Ints, thing: Ints, starts: Ints) -> Ints:
    """The place of each thing's largest count, the first of equal ones."""
    peaks = np.maximum.reduceat(counts, starts[:-1])
    at = np.flatnonzero(counts == peaks[thing])
    return np.asarray(at[np.searchsorted(thing[at], np.arange(len(peaks)))])
