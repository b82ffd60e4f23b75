"""No voter, no prompt and no suspect has more than its share of what is trained on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feedback_store.trust.ballots import CHOICE, CORRECTION, THUMB, Ballots, Ints
from feedback_store.trust.rules import TrustRules

Floats = NDArray[np.float64]

_DAY = 86_400
# Among few voters each has a large share; the bound then is this many times an equal one.
_FEW = 10
_ROUNDS = 20


def masses(ballots: Ballots, weights: Floats) -> Floats:
    """(files, votes): each vote's part of the rows of SFT, DPO, KTO, and of all three."""
    part = _part_of(ballots.kind, ballots.text, ballots.rejected) * weights
    thumb, correction, choice = (ballots.kind == k for k in (THUMB, CORRECTION, CHOICE))
    files = np.zeros((4, len(ballots)))
    files[0] = part * ((thumb & (ballots.sign > 0)) | correction)
    files[1] = part * (correction | choice)
    files[2] = part * thumb
    files[3] = files[:3].sum(axis=0)
    return files


def too_many(ballots: Ballots, rules: TrustRules) -> Ints:
    """The votes beyond what a voter may cast in a day: the last ones of that day."""
    if len(ballots.voters) <= _FEW:
        return np.zeros(0, np.int64)
    order = np.lexsort([ballots.text, ballots.when, ballots.voter])
    voter, day = ballots.voter[order], ballots.when[order] // _DAY
    born = np.full(len(ballots.voters), np.iinfo(np.int64).max)
    np.minimum.at(born, ballots.voter, ballots.when // _DAY)
    changes = (np.diff(voter) != 0) | (np.diff(day) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1]) if len(order) else order
    position = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    limit = np.where(day == born[voter], rules.new_votes_per_day, rules.votes_per_day)
    return np.sort(order[position >= limit])


def factors(
    ballots: Ballots,
    clusters: Ints,
    weights: Floats,
    suspects: Sequence[Ints],
    rules: TrustRules,
) -> Floats:
    """What to multiply each vote's weight by, so that every share keeps within its bound."""
    files = masses(ballots, weights)
    factor = np.ones(len(ballots))
    cluster = clusters[ballots.prompt] if len(ballots) else clusters
    for _ in range(_ROUNDS):
        before = factor.copy()
        factor *= _bounded(files * factor, ballots.voter, rules.voter_share)
        factor *= _bounded(files * factor, cluster, rules.prompt_share)
        for members in suspects:
            factor[members] *= _scale(files * factor, members, rules.suspect_share)
        if np.allclose(before, factor, rtol=1e-4, atol=0):
            break
    return np.round(factor, 6)


def _part_of(kind: Ints, text: Ints, rejected: Ints) -> Floats:
    """1 / the number of votes that make the same row."""
    keys = np.stack([kind, text, np.where(kind == CHOICE, rejected, -1)])
    _, row, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[row.reshape(-1)])


def _bounded(files: Floats, key: Ints, share: float) -> Floats:
    """Each vote's factor from the group that it belongs to; the strictest file decides."""
    factor = np.ones(files.shape[1])
    for mass in files:
        total, sums = mass.sum(), np.bincount(key, weights=mass)
        groups = int((sums > 0).sum())
        bound = max(share, _FEW / max(groups, 1))
        if bound >= 1:
            continue
        limit = bound / (1 - bound) * (total - sums)
        scale = np.divide(limit, sums, out=np.ones(len(sums)), where=sums > np.maximum(limit, 0))
        factor = np.minimum(factor, scale[key])
    return factor


def _scale(files: Floats, members: Ints, share: float) -> float:
    scale = 1.0
    for mass in files:
        own = mass[members]
        if (own > 0).sum() < 3:
            continue
        rest = float(mass.sum() - own.sum())
        scale = min(scale, share / (1 - share) * rest / float(own.sum()))
    return scale
