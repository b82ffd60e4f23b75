"""Logistic regression on votes of which some are given by chance.

P(y = 1) = ε + (1 − 2ε)·σ(x·β)

A share ε of votes contradicts what their voter meant. Without ε, a few such votes on clear cases
flatten the whole curve, and the weights lose both their size and, for finite votes, their
proportions. (Psychophysics calls ε a lapse rate: Wichmann and Hill 2001.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from rlhf.evaluation.paired import sigmoid
from rlhf.lab.accuracy import Floats

MOST_NOISE = 0.45
# Of a normal prior on the coefficients of standardised columns: holds them finite where ε takes
# all of the votes' randomness.
_SD = 30.0
# Of χ² with half of its mass at zero, as ε cannot be less (Self and Liang 1987): 95 %.
_WORTH = 2.71 / 2.0


@dataclass(frozen=True)
class NoisyFit:
    """Coefficients, the share of votes that chance turned round, and the mean log loss."""

    beta: Floats
    noise: float
    loss: float


def fit_noisy(x: Floats, y: Floats, weights: Floats, start: NoisyFit | None = None) -> NoisyFit:
    """The most likely β and ε for labels `y` of 0 and 1; ε is 0 unless the votes tell it is not.

    With a `start`, ε is fitted exactly if it was there.
    """
    if start is not None:
        return _fitted(x, y, weights, start.beta, start.noise)
    plain = _fitted(x, y, weights, np.zeros(x.shape[1]), 0.0)
    noisy = _fitted(x, y, weights, 2.0 * plain.beta, 0.1)
    # Votes of weight below 1 are evidence of less than a vote.
    gained = (plain.loss - noisy.loss) * weights.sum() ** 2 / (weights**2).sum()
    return noisy if gained > _WORTH else plain


def _fitted(x: Floats, y: Floats, weights: Floats, beta: Floats, noise: float) -> NoisyFit:
    w = weights / weights.sum()
    start = beta if noise == 0.0 else np.append(beta, _logit(noise / MOST_NOISE))

    def loss(theta: Floats) -> tuple[float, Floats]:
        b = theta[: x.shape[1]]
        e = 0.0 if noise == 0.0 else MOST_NOISE * float(sigmoid(theta[-1:])[0])
        p = np.clip(sigmoid(x @ b), 1e-12, 1.0 - 1e-12)
        q = e + (1.0 - 2.0 * e) * p
        pull = w * (y / q - (1.0 - y) / (1.0 - q))
        prior = 1.0 / (_SD**2 * len(y))
        value = -float(w @ (y * np.log(q) + (1.0 - y) * np.log1p(-q))) + prior * float(b @ b) / 2
        slope = -x.T @ (pull * (1.0 - 2.0 * e) * p * (1.0 - p)) + prior * b
        if noise != 0.0:
            slope = np.append(slope, -float(pull @ (1.0 - 2.0 * p)) * e * (1.0 - e / MOST_NOISE))
        return value, slope

    theta = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    found = 0.0 if noise == 0.0 else MOST_NOISE * float(sigmoid(theta[-1:])[0])
    return NoisyFit(np.asarray(theta[: x.shape[1]]), found, loss(theta)[0])


def _logit(p: float) -> float:
    p = min(max(p, 1e-3), 1.0 - 1e-3)
    return math.log(p / (1.0 - p))
