"""A mix's reward of answers that were scored before: `rewards.combine`, on arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rlhf.lab.measures import Combining, Measured, Parts

Floats = npt.NDArray[np.float64]
Scales = Mapping[str, tuple[float, float]]


def scales_of(measured: Measured, weights: Mapping[str, float], how: Combining) -> Scales:
    """Mean and deviation of a mix's rewards where they are to be alike; training takes a round's.

    Over the answers on which no reward of the mix has failed.
    """
    if how.normalise != "zscore":
        return {}
    failed = np.any([measured.failed[name] for name in weights], axis=0)
    scales = {}
    for name in weights:
        values = measured.rewards[name]
        kept = values[~failed & ~np.isnan(values)]
        if kept.size:
            scales[name] = (float(kept.mean()), float(kept.std()))
    return scales


def scaled(values: Floats, scale: tuple[float, float] | None) -> Floats:
    """Values as the sum takes them."""
    mean, deviation = scale or (0.0, 1.0)
    even = deviation <= 1e-8 * max(1.0, abs(mean))  # they differ by rounding alone
    return np.where(np.isnan(values), np.nan, 0.0) if even else (values - mean) / deviation


def totals(
    measured: Measured,
    weights: Mapping[str, float],
    parts: Parts,
    how: Combining,
    scales: Scales | None = None,
) -> Floats:
    """The mix's reward of each answer; NaN where nothing applies or a part of it has failed."""
    scales = scales_of(measured, weights, how) if scales is None else scales
    shape = next(iter(measured.texts.values())).shape
    total, size = np.zeros(shape), np.zeros(shape)
    applies, vetoed, failed = (np.zeros(shape, dtype=bool) for _ in range(3))
    for name, weight in weights.items():
        values = measured.rewards[name]
        known = ~np.isnan(values)
        applies |= known
        failed |= measured.failed[name]
        if name in parts.vetoes:
            vetoed |= np.where(known, values, 0.0) < 0
            continue
        total += weight * np.where(known, scaled(values, scales.get(name)), 0.0)
        size += abs(weight) * known
    if how.normalise == "mean":
        total = np.divide(total, size, out=np.zeros(shape), where=size > 0)
    total = np.where(vetoed, how.veto_score, total)
    return np.where(failed | ~applies, np.nan, total)
