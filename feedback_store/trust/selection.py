"""How well answers are liked by all, where mostly the moved ones vote.

Volunteers are not a sample (arXiv 2605.12177: their mean can be 40 points off), but a small slice
that was asked at random is. Two estimates of the mean vote over all interactions: the solicited
slice alone, each answer weighing 1 / P(it was asked for), and, where P(voting unasked) can be told
from features known for everyone, the volunteers weighed by that; `combined` joins the two.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def variance(self) -> float:
        """The squared standard error."""
        return ((self.high - self.low) / (2 * 1.96)) ** 2


def inverse_propensity(values: Sequence[float], propensities: Sequence[float]) -> Estimate:
    """The mean over everyone of those that were seen with known chances (Hájek 1971).

    `ValueError` where a chance lies outside (0, 1] or nothing was seen.
    """
    if not values or len(values) != len(propensities):
        raise ValueError(f"{len(values)} values and {len(propensities)} propensities")
    if wrong := [p for p in propensities if not 0 < p <= 1]:
        raise ValueError(f"a propensity lies in (0, 1], not {wrong[0]}")
    x, weight = np.asarray(values, float), 1 / np.asarray(propensities, float)
    total = math.fsum(weight)
    mean = math.fsum(weight * x) / total
    # Linearised variance of a ratio; n / (n - 1) keeps small slices honest.
    n = len(x)
    spread = math.fsum((weight * (x - mean)) ** 2) / total**2 * (n / (n - 1) if n > 1 else 1)
    half = 1.96 * math.sqrt(spread) if n > 1 else math.inf
    return Estimate(mean, mean - half, mean + half)


def voting_rates(strata: Sequence[Hashable], voted: Sequence[bool]) -> dict[Hashable, float]:
    """P(voting unasked) in each stratum of interactions, smoothed by half a vote."""
    shown: dict[Hashable, int] = {}
    seen: dict[Hashable, int] = {}
    for stratum, vote in zip(strata, voted, strict=True):
        shown[stratum] = shown.get(stratum, 0) + 1
        seen[stratum] = seen.get(stratum, 0) + vote
    return {stratum: (seen[stratum] + 0.5) / (shown[stratum] + 1) for stratum in shown}


def combined(solicited: Estimate, voluntary: Estimate) -> Estimate:
    """The solicited slice's mean, drawn towards the volunteers' as far as they are compatible.

    The volunteers' may be biased by what no stratum tells, so their squared gap beyond its noise
    counts as variance (Rosenman and others 2023, shrinkage of an observational estimate).
    """
    if not math.isfinite(solicited.variance):
        raise ValueError("the solicited slice needs two votes: its spread is all that bounds bias")
    gap = (voluntary.mean - solicited.mean) ** 2 - solicited.variance - voluntary.variance
    error = voluntary.variance + max(0.0, gap)
    share = error / (error + solicited.variance) if error + solicited.variance else 1.0
    mean = share * solicited.mean + (1 - share) * voluntary.mean
    # The interval stays the unbiased slice's: drawing nearer may not claim what it can't know.
    half = 1.96 * math.sqrt(solicited.variance)
    return Estimate(mean, mean - half, mean + half)
