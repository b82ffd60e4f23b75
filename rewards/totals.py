"""The sums of a batch, component by component; `rewards.combine` gives the formulas."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.running.outcome import Status

Normalise = Literal["sum", "mean", "zscore"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Part(NamedTuple):
    """What one component says of each row: the columns of its outcomes."""

    label: str
    weight: float | list[float]  # of all rows, or of each
    veto: bool
    raw: tuple[float | None, ...]
    status: tuple[Status, ...]
    reason: tuple[str | None, ...]
    numbers: Floats
    """The raw scores, NaN where there is none."""


class Sums(NamedTuple):
    """What is made of each row; no total where it is invalid or nothing applies to it."""

    totals: list[float | None]
    vetoed: list[bool]
    invalid: list[bool]


def add(parts: Sequence[Part], rows: int, normalise: Normalise, veto_score: float) -> Sums:
    """Add the components up."""
    values = [part.numbers for part in parts]
    applies = [~np.isnan(value) for value in values]
    invalid = _any([_invalid(part) for part in parts], rows)
    weights = [np.asarray(part.weight, np.float64) for part in parts]
    terms = [at for at, part in enumerate(parts) if not part.veto]
    vetoed = _any([v < 0 for v, part in zip(values, parts, strict=True) if part.veto], rows)
    weighted = []
    for at in terms:
        value = values[at]
        if normalise == "zscore":
            value = _standard(value, applies[at] & ~invalid)
        with np.errstate(over="ignore", invalid="ignore"):
            weighted.append(np.where(applies[at], weights[at] * value, 0.0))
    total = _sums(weighted, rows)
    if normalise == "mean":
        divisors = _sums([abs(weights[at]) * applies[at] for at in terms], rows)
        total = np.divide(total, divisors, out=np.zeros(rows), where=divisors > 0)
    nothing = invalid | ~_any(applies, rows)
    totals: list[float | None] = np.where(vetoed, veto_score, total).tolist()
    for row in np.flatnonzero(nothing).tolist():
        totals[row] = None
    return Sums(totals, vetoed.tolist(), invalid.tolist())


def _any(flags: Sequence[Flags], rows: int) -> Flags:
    found: Flags = np.logical_or.reduce([np.zeros(rows, np.bool_), *flags])
    return found


def _invalid(part: Part) -> Flags:
    if "invalid" not in part.status:
        return np.zeros(len(part.status), np.bool_)
    return np.array([status == "invalid" for status in part.status], np.bool_)


def _sums(terms: Sequence[Floats], rows: int) -> Floats:
    """Add exactly, so that the order of the components makes no difference."""
    total, rest, lost = (np.zeros(rows) for _ in range(3))
    with np.errstate(over="ignore", invalid="ignore"):
        for term in terms:
            total, error = _two_sum(total, term)
            rest, more = _two_sum(rest, error)
            lost += abs(more)
        found: Floats = total + rest  # is the sum, rounded once, where nothing was lost
    for row in np.flatnonzero(~(lost == 0)).tolist():
        found[row] = math.fsum(term[row] for term in terms)
    return found


def _two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return a + b rounded, and what that leaves out (Knuth, TAOCP 2, 4.2.2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _standard(value: Floats, kept: Flags) -> Floats:
    """Return (x - mean) / std over the rows that stay in the batch, 0 without variance."""
    raw = value[kept].tolist()
    if not raw:
        return value
    mean = fmean(raw)
    std = math.hypot(*(x - mean for x in raw)) / math.sqrt(len(raw))
    # A batch of equal scores differs by rounding alone: that is no variance.
    if not std > 1e-8 * max(1.0, abs(mean)):
        return np.zeros_like(value)
    return (value - mean) / std
