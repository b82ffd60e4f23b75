"""Which components the votes need: a lasso's path, cross-validated with its shrinkage undone.

The relaxed lasso (Meinshausen 2007): the penalty chooses components, a refit without it gives their
weights; folds and errors go by conversation. What is `useful` lowers the held-out loss the most. To
be `sure`, the largest penalty within one standard error of that is taken, and what it leaves must
differ from zero, all components together (Bonferroni): the rule of one error lets a chance find
through now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlhf.evaluation.estimate import normal_quantile
from rlhf.evaluation.paired import logistic, sigmoid
from rlhf.lab.accuracy import Floats, Ints
from rlhf.lab.design import Design
from rlhf.lab.lasso import largest_penalty, lasso_path

_FOLDS, _PENALTIES, _SPAN = 5, 25, 1e-3
_RIDGE = 1e-4


Keep = Literal["sure", "useful"]


@dataclass(frozen=True)
class Selection:
    """What was kept, and the held-out log loss with it and with no component at all."""

    kept: tuple[int, ...]
    dropped: dict[int, str]
    """Why each of the others adds nothing."""
    loss: float
    chance: float


def select(design: Design, keep: Keep = "sure", seed: int = 0) -> Selection:
    """The components that help to predict held-out votes."""
    penalties = _penalties(design)
    losses = _held_out_losses(design, penalties, seed)
    means = np.average(losses, axis=1, weights=design.weights)
    best = int(means.argmin())
    chosen = best
    if keep == "sure":
        chosen = _one_error_rule(losses, best, design.weights, design.groups)
    at = lasso_path(design.x, _signed(design.y), design.weights, design.penalised, penalties)
    survivors = np.flatnonzero(at[chosen][: len(design.labels)])
    kept = _sure(design, survivors) if keep == "sure" else survivors.tolist()
    dropped = {i: _why(design, i, survivors) for i in range(len(design.labels)) if i not in kept}
    return Selection(tuple(kept), dropped, float(means[chosen]), float(means[0]))


def folds_of(groups: Ints, seed: int, count: int = _FOLDS) -> Ints:
    """A fold for each row; a group is never in two."""
    order = np.random.default_rng(seed).permutation(int(groups.max(initial=0)) + 1)
    return np.asarray(order[groups] % count)


def refit(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Coefficients without a penalty, but for what keeps them finite."""
    columns = x.shape[1]
    w = weights * (len(weights) / weights.sum())
    return logistic(x, y, w, np.zeros((columns, columns)), _RIDGE * np.eye(columns)).theta


def _penalties(design: Design) -> Floats:
    """From the one that keeps nothing, in any fold, downwards."""
    most = largest_penalty(design.x, _signed(design.y), design.weights, design.penalised)
    return np.append(np.inf, max(most, 1e-12) * np.geomspace(1.0, _SPAN, _PENALTIES))


def _held_out_losses(design: Design, penalties: Floats, seed: int) -> Floats:
    """Log loss `[penalties, votes]` of each vote by a refit that did not see its fold."""
    losses = np.zeros((len(penalties), len(design.y)))
    folds = folds_of(design.groups, seed)
    for fold in np.unique(folds):
        train, aside = folds != fold, folds == fold
        x, y, w = design.x[train], design.y[train], design.weights[train]
        path = lasso_path(x, _signed(y), w, design.penalised, penalties)
        done: dict[bytes, Floats] = {}
        for row, beta in enumerate(path):
            columns = (beta != 0) | ~design.penalised
            key = columns.tobytes()
            if key not in done:
                theta = refit(x[:, columns], y, w)
                done[key] = losses_of(design.x[aside][:, columns] @ theta, design.y[aside])
            losses[row, aside] = done[key]
    return losses


def losses_of(log_odds: Floats, y: Floats) -> Floats:
    """Log loss of labels of 0 and 1, `[votes]`."""
    return np.asarray(np.logaddexp(0.0, -np.where(y > 0, log_odds, -log_odds)))


def _one_error_rule(losses: Floats, best: int, weights: Floats, groups: Ints) -> int:
    """The first penalty that is worse than the best by no more than that difference's error."""
    w = weights / weights.sum()
    for row in range(best):
        worse = losses[row] - losses[best]
        mean = float(w @ worse)
        error = float(np.sqrt((np.bincount(groups, w * (worse - mean)) ** 2).sum()))
        if mean <= error:
            return row
    return best


def _sure(design: Design, survivors: Ints) -> list[int]:
    """Those whose weight differs from zero, at 5 % for all components of the design together."""
    if not len(survivors):
        return []
    part = design.taking(survivors.tolist())
    theta = refit(part.x, part.y, part.weights)
    z = theta / np.sqrt(np.diag(_covariance(part, theta)))
    enough = normal_quantile(1.0 - 0.025 / len(design.labels))
    return [int(i) for i, value in zip(survivors, z, strict=False) if abs(value) > enough]


def _covariance(design: Design, theta: Floats) -> Floats:
    """The sandwich over groups: right for votes that depend on each other, and of any model."""
    p = sigmoid(design.x @ theta)
    curvature = design.x.T @ ((design.weights * p * (1.0 - p))[:, None] * design.x)
    inverse = np.linalg.pinv(curvature)
    pull = (design.weights * (design.y - p))[:, None] * design.x
    of_groups = np.zeros((int(design.groups.max()) + 1, design.x.shape[1]))
    np.add.at(of_groups, design.groups, pull)
    return np.asarray(inverse @ (of_groups.T @ of_groups) @ inverse)


def _why(design: Design, component: int, survivors: Ints) -> str:
    if design.units[component] == 0:
        return "adds nothing: it gives the answers of every vote the same score"
    if component in survivors:
        return "adds nothing for sure: its weight may as well be zero"
    return "adds nothing: held-out votes are predicted as well without it"


def _signed(y: Floats) -> Floats:
    return np.where(y > 0, 1.0, -1.0)
