"""Logistic regression with an L1 penalty along a path, by Newton steps and coordinate descent.

minimise  Σ wᵢ·log(1 + exp(−yᵢ·xᵢ·β)) / Σ wᵢ + λ·Σ|βⱼ|      with y = ±1

Friedman, Hastie and Tibshirani 2010 (glmnet). A column that takes no penalty is an intercept.
scikit-learn gives the same numbers, and is the oracle in the tests; its arguments for an L1 penalty
change with its versions, and none of its solvers leaves out one column.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rlhf.evaluation.paired import sigmoid

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_NEWTON, _SWEEPS, _TOLERANCE = 50, 200, 1e-8
# Keeps the curvature away from zero where all votes are predicted well.
_LEAST_CURVATURE = 1e-5


def lasso_path(
    x: Floats, y: Floats, weights: Floats, penalised: Flags, penalties: Floats
) -> Floats:
    """Coefficients `[penalties, columns]`; each fit starts from the one before."""
    beta = np.zeros(x.shape[1])
    found = []
    for penalty in penalties:
        beta = _fit(x, y, weights / weights.sum(), np.where(penalised, penalty, 0.0), beta)
        found.append(beta)
    return np.array(found)


def largest_penalty(x: Floats, y: Floats, weights: Floats, penalised: Flags) -> float:
    """The least penalty under which no penalised column has a coefficient."""
    w = weights / weights.sum()
    start = _fit(x[:, ~penalised], y, w, np.zeros(int((~penalised).sum())), None)
    slope = x.T @ (w * y * sigmoid(-y * (x[:, ~penalised] @ start)))
    return float(np.abs(slope[penalised]).max(initial=0.0))


def _fit(x: Floats, y: Floats, w: Floats, penalty: Floats, start: Floats | None) -> Floats:
    beta = np.zeros(x.shape[1]) if start is None else start.copy()
    for _ in range(_NEWTON):
        p = sigmoid(x @ beta)
        curvature = np.maximum(p * (1.0 - p), _LEAST_CURVATURE)
        gram = x.T @ ((w * curvature)[:, None] * x)
        target = gram @ beta + x.T @ (w * ((y > 0) - p))
        after = _descend(gram, target, penalty, beta)
        moved = float(np.abs(after - beta).max(initial=0.0))
        beta = after
        if moved < _TOLERANCE:
            break
    return beta


def _descend(gram: Floats, target: Floats, penalty: Floats, start: Floats) -> Floats:
    """The minimum of ½·β·G·β − t·β + Σ penalty·|β|, one coordinate after the other."""
    beta = start.copy()
    for _ in range(_SWEEPS):
        moved = 0.0
        for j in range(len(beta)):
            if gram[j, j] <= 0.0:
                continue
            rest = target[j] - gram[j] @ beta + gram[j, j] * beta[j]
            new = np.sign(rest) * max(abs(rest) - penalty[j], 0.0) / gram[j, j]
            moved = max(moved, abs(new - beta[j]))
            beta[j] = new
        if moved < _TOLERANCE:
            break
    return beta
