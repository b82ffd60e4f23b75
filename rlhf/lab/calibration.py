"""Can a score be read as a chance? A one-variable logistic curve, fitted on other conversations.

Pairs: P(first chosen) = σ(b·difference), looked at from the side that the score favours. Single
votes: P(up) = σ(a + b·score).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlhf.evaluation.paired import sigmoid
from rlhf.lab.accuracy import Floats, Ints
from rlhf.lab.selection import folds_of, refit

_BINS = 10
_FEWEST = 50


@dataclass(frozen=True)
class Calibration:
    """`bins`: predicted chance, share of votes, votes; `ece` is their mean distance by votes."""

    ece: float
    bins: tuple[tuple[float, float, int], ...]
    predicted: Floats
    """Chance of what the voter said, `[votes]`; NaN where there is no score."""


def calibrate_pairs(differences: Floats, weights: Floats, groups: Ints) -> Calibration | None:
    """Of pairs that the score tells apart; a tie predicts one half, and is left out of the bins."""
    p = _cross_fitted(differences[:, None], np.ones(len(differences)), weights, groups)
    if p is None:
        return None
    told = ~np.isnan(differences) & (differences != 0)
    favoured, right = np.maximum(p, 1.0 - p)[told], (p > 0.5)[told]
    return _binned(favoured, right.astype(np.float64), weights[told], p)


def calibrate_thumbs(
    scores: Floats, up: Floats, weights: Floats, groups: Ints
) -> Calibration | None:
    """Of single votes, `up` being 1 or 0."""
    x = np.column_stack([scores, np.ones(len(scores))])
    p = _cross_fitted(x, up, weights, groups)
    if p is None:
        return None
    told = ~np.isnan(p)
    said = np.where(up > 0, p, 1.0 - p)
    return _binned(p[told], up[told], weights[told], said)


def _cross_fitted(x: Floats, y: Floats, weights: Floats, groups: Ints) -> Floats | None:
    """Chances of y = 1 from curves that did not see the row's fold."""
    kept = ~np.isnan(x[:, 0]) & (weights > 0)
    spread = float(x[kept, 0].std()) if kept.any() else 0.0
    if kept.sum() < _FEWEST or spread == 0.0:
        return None
    x = x / np.append(spread, np.ones(x.shape[1] - 1))
    folds = np.where(kept, folds_of(groups, seed=0), -1)
    found = np.full(len(y), np.nan)
    for fold in np.unique(folds[kept]):
        train, aside = kept & (folds != fold), folds == fold
        if not train.any():
            return None
        found[aside] = sigmoid(x[aside] @ refit(x[train], y[train], weights[train]))
    return found


def _binned(p: Floats, y: Floats, weights: Floats, said: Floats) -> Calibration | None:
    if len(p) < _FEWEST:
        return None
    parts = [part for part in np.array_split(np.argsort(p, kind="stable"), _BINS) if len(part)]
    bins = [
        (
            float(np.average(p[part], weights=weights[part])),
            float(np.average(y[part], weights=weights[part])),
            len(part),
        )
        for part in parts
    ]
    mass = [float(weights[part].sum()) for part in parts]
    distances = [abs(predicted - seen) for predicted, seen, _ in bins]
    return Calibration(float(np.average(distances, weights=mass)), tuple(bins), said)
