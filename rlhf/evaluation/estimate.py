"""A mean with its uncertainty, and the quantiles that intervals are made of. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Estimate:
    """A mean, the ends of its interval (None where one value or none is too few) and its count."""

    mean: float
    low: float | None
    high: float | None
    n: int


def normal_quantile(p: float) -> float:
    """The z below which a standard normal lies with probability `p`."""
    return NormalDist().inv_cdf(p)


def student_cdf(t: float, df: float) -> float:
    """P(T ≤ t) for Student's t, by the substitution t = √df · tan u.

    The density becomes cos^(df-1) u, smooth on [0, atan(t/√df)], and 64 Gauss-Legendre nodes give
    it to about 1e-12 for every df ≥ 1: no SciPy needed for one quantile.
    """
    top = math.atan(abs(t) / math.sqrt(df))
    u = (_NODES + 1.0) * top / 2.0
    integral = float(_WEIGHTS @ np.cos(u) ** (df - 1.0)) * top / 2.0
    scale = math.exp(math.lgamma((df + 1.0) / 2.0) - math.lgamma(df / 2.0)) / math.sqrt(math.pi)
    return 0.5 + math.copysign(scale * integral, t)


@cache
def student_quantile(p: float, df: float) -> float:
    """The t below which Student's t with `df` degrees of freedom lies with probability `p`."""
    if p < 0.5:
        return -student_quantile(1.0 - p, df)
    if df > 1e6:
        return normal_quantile(p)
    low, high = 0.0, 1.0
    while student_cdf(high, df) < p:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        if student_cdf(middle, df) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def wilson(rate: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) for a proportion; stays in [0, 1], honest at 0 and at 1."""
    z = normal_quantile(0.5 + confidence / 2.0)
    shrink = 1.0 + z * z / n
    centre = (rate + z * z / (2.0 * n)) / shrink
    half = z / shrink * math.sqrt(rate * (1.0 - rate) / n + z * z / (4.0 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """The mean with Student's interval; None for no values."""
    if not values:
        return None
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return Estimate(mean, None, None, 1)
    half = student_quantile(0.5 + confidence / 2.0, len(x) - 1) * standard_error(x)
    return Estimate(mean, mean - half, mean + half, len(x))


def rate_estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """A share of rows with Wilson's interval: all rows alike is no proof of a rate of 1."""
    if not values:
        return None
    rate = float(np.mean(values))
    return Estimate(rate, *wilson(rate, len(values), confidence), len(values))


def ratio_estimate(
    totals: Sequence[float], sizes: Sequence[int], confidence: float = 0.95
) -> Estimate | None:
    """Sum of totals over sum of sizes, e.g. a per-token mean where sequences are the sample.

    Tokens of one sequence are not independent, so the interval takes the sequence as its unit
    (delta method on the ratio of means; Cochran, Sampling Techniques, 1977, chapter 6).
    """
    x, size = np.asarray(totals, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if size.sum() == 0:
        return None
    ratio = float(x.sum() / size.sum())
    if len(x) < 2:
        return Estimate(ratio, None, None, len(x))
    error = standard_error(x - ratio * size) / float(size.mean())
    half = student_quantile(0.5 + confidence / 2.0, len(x) - 1) * error
    return Estimate(ratio, ratio - half, ratio + half, len(x))


def standard_error(x: Floats) -> float:
    """Of the mean of `x` (at least two values)."""
    return float(x.std(ddof=1) / math.sqrt(len(x)))


def cluster_means(values: Sequence[float], groups: Sequence[Hashable] | None) -> Floats:
    """One mean per group, in order of first appearance; the values themselves without groups.

    Answers within one conversation resemble each other: counted singly they would shrink the
    interval without adding evidence.
    """
    if groups is None:
        return np.asarray(values, dtype=np.float64)
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    return np.asarray([float(np.mean(m)) for m in members.values()], dtype=np.float64)
