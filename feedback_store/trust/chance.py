"""How likely something is by chance: tails, their product, and an interval, in closed forms."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def binomial_tail(count: int, trials: int, chance: float) -> float:
    """P(X >= count) for X ~ Binomial(trials, chance)."""
    if count <= 0 or chance >= 1:
        return 1.0
    if count > trials or chance <= 0:
        return 0.0
    k = np.arange(count, trials + 1)
    logs = _log_factorials(trials)
    terms = logs[trials] - logs[k] - logs[trials - k]
    terms = terms + k * math.log(chance) + (trials - k) * math.log1p(-chance)
    top = float(terms.max())
    return min(1.0, math.exp(top) * float(np.exp(terms - top).sum()))


def binomial_terms(count: Ints, trials: Ints, chance: Floats) -> Floats:
    """P(X = count) for X ~ Binomial(trials, chance) of each; less than its tail, sooner found."""
    logs = _log_factorials(int(trials.max(initial=0)))
    within = np.clip(chance, 1e-300, 1 - 1e-16)
    terms = logs[trials] - logs[count] - logs[trials - count]
    terms += count * np.log(within) + (trials - count) * np.log1p(-within)
    return np.asarray(np.where(chance < 1, np.exp(terms), 1.0))


def fisher(*p_values: float) -> float:
    """One p-value from several independent ones (Fisher 1925); exact for continuous tests."""
    half = -math.fsum(math.log(max(p, 1e-300)) for p in p_values)
    # The chi-squared tail with an even number of degrees of freedom is a short Poisson sum.
    term = total = 1.0
    for place in range(1, len(p_values)):
        term *= half / place
        total += term
    return min(1.0, math.exp(-half) * total)


def wilson(hits: float, trials: float, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a share; (0, 1) without a trial."""
    if trials <= 0:
        return 0.0, 1.0
    share, square = hits / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(max(0.0, share * (1 - share) / trials + square / (4 * trials)))
    half /= 1 + square
    return max(0.0, middle - half), min(1.0, middle + half)


_LOGS = np.zeros(1)


def _log_factorials(upto: int) -> np.ndarray:
    global _LOGS
    if len(_LOGS) <= upto:
        size = max(upto + 1, 2 * len(_LOGS))
        _LOGS = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size)))])
    return _LOGS
