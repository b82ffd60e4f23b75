"""How often a score sides with the voter: pair accuracy, and AUC for single votes.

Votes in one conversation resemble each other, and votes have weights: both make them worth fewer
than they are. Intervals come from the number of independent votes that would have the same variance
(Kish 1965), by Wilson's formula for a share (as Korn and Graubard 1998 do in surveys) and on the
log odds for an AUC.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlhf.evaluation.estimate import normal_quantile, wilson

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """A share or an AUC with its 95 % interval, on `n` votes."""

    rate: float
    low: float
    high: float
    n: int
    ties: float
    """Share of pairs whose answers score alike; each counts as one half."""


@dataclass(frozen=True)
class Influence:
    """A rate, and by how much each vote moves it away from what it would be; `[votes]`."""

    rate: float
    rows: Floats


def pair_accuracy(differences: Floats, weights: Floats, groups: Ints) -> Agreement | None:
    """Share of pairs whose chosen answer scores higher; `differences` is chosen minus rejected.

    A pair that the score does not apply to (NaN) is left out.
    """
    kept = ~np.isnan(differences) & (weights > 0)
    if not kept.any():
        return None
    d, w, g = differences[kept], weights[kept], groups[kept]
    told = pair_influence(d, w)
    low, high = wilson(told.rate, _effective_size(told, w, g))
    ties = float(np.average(d == 0, weights=w))
    return Agreement(told.rate, low, high, len(d), ties)


def auc(scores: Floats, up: Flags, weights: Floats, groups: Ints) -> Agreement | None:
    """Chance that an upvoted answer scores above a downvoted one, with ties as halves."""
    kept = ~np.isnan(scores) & (weights > 0)
    s, up, w, g = scores[kept], up[kept], weights[kept], groups[kept]
    if not up.any() or up.all():
        return None
    told = auc_influence(s, up, w)
    low, high = _on_log_odds(told.rate, _spread(told.rows, g), len(s))
    return Agreement(told.rate, low, high, len(s), _tied(s[up], s[~up]))


def pair_influence(differences: Floats, weights: Floats) -> Influence:
    """Of the share of pairs that a score has right; one without a score is undecided."""
    outcomes = 0.5 + 0.5 * np.sign(np.nan_to_num(differences))
    rate = float(np.average(outcomes, weights=weights))
    return Influence(rate, weights * (outcomes - rate) / weights.sum())


def auc_influence(scores: Floats, up: Flags, weights: Floats) -> Influence:
    """Of an AUC: DeLong's components (1988), which sum over groups as Obuchowski's (1997)."""
    ups, downs = weights[up], weights[~up]
    right = np.empty_like(scores)
    right[up] = _share_below(scores[up], scores[~up], downs)
    right[~up] = 1.0 - _share_below(scores[~up], scores[up], ups)
    rate = float(np.average(right[up], weights=ups))
    return Influence(
        rate, np.where(up, weights / ups.sum(), weights / downs.sum()) * (right - rate)
    )


def difference(first: Influence, second: Influence, groups: Ints) -> dict[str, float]:
    """First minus second on the same votes, with its interval and two-sided p-value."""
    mean = first.rate - second.rate
    spread = _spread(first.rows - second.rows, groups)
    half = normal_quantile(0.975) * spread
    p = math.erfc(abs(mean) / spread / math.sqrt(2.0)) if spread > 0 else float(mean == 0)
    return {"mean": mean, "low": mean - half, "high": mean + half, "p": p}


def numbered(groups: Sequence[Hashable]) -> Ints:
    """Groups as numbers from 0."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(g, len(known)) for g in groups], dtype=np.int64)


def _spread(influence: Floats, groups: Ints) -> float:
    """Standard error of a sum over independent groups."""
    return math.sqrt(float((np.bincount(groups, influence) ** 2).sum()))


def _effective_size(told: Influence, weights: Floats, groups: Ints) -> int:
    """Independent votes that would leave the rate as uncertain as these leave it."""
    of_groups = np.bincount(groups, weights)
    variance = _spread(told.rows, groups) ** 2
    size = told.rate * (1.0 - told.rate) / variance if variance > 0 else 0.0
    if not size:  # all right or all wrong: only the weights tell
        size = float(of_groups.sum() ** 2 / (of_groups**2).sum())
    # A tie varies less than a vote can, which is no more evidence than the votes are.
    return max(1, round(min(size, len(weights))))


def _share_below(values: Floats, others: Floats, weights: Floats) -> Floats:
    """For each value the weighted share of the others below it, equal ones as halves."""
    order = np.argsort(others, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    left = np.searchsorted(others[order], values, side="left")
    right = np.searchsorted(others[order], values, side="right")
    return np.asarray((sums[left] + sums[right]) / (2.0 * sums[-1]))


def _tied(ups: Floats, downs: Floats) -> float:
    values, counts = np.unique(downs, return_counts=True)
    at = np.minimum(np.searchsorted(values, ups), len(values) - 1)
    same = np.where(values[at] == ups, counts[at], 0)
    return float(same.sum() / (len(ups) * len(downs)))


def _on_log_odds(rate: float, spread: float, n: int) -> tuple[float, float]:
    if not 0.0 < rate < 1.0 or spread == 0.0:  # all right or all wrong has no spread of its own
        return wilson(rate, n)
    half = normal_quantile(0.975) * spread / (rate * (1.0 - rate))
    middle = math.log(rate / (1.0 - rate))
    low, high = (1.0 / (1.0 + math.exp(-(middle + side * half))) for side in (-1.0, 1.0))
    return low, high
