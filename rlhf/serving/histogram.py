"""Counts by size, twenty bins a decade: a quantile out of them is right within some 6 %."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

BINS: Final = 20
"""A decade."""
_LOWEST: Final = -2 * BINS
_HIGHEST: Final = 8 * BINS


def place(size: float) -> int:
    """The bin of a size; what is below 0.01 (zero, too) or above 10^8 has the outermost."""
    if size <= 0.0:
        return _LOWEST
    return min(_HIGHEST, max(_LOWEST, math.floor(BINS * math.log10(size))))


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """The size that this share of all is below; None of nothing."""
    total = sum(bins.values())
    if total <= 0:
        return None
    wanted, below, bin = share * total, 0, 0
    for bin, count in sorted(bins.items()):  # noqa: B007  (the one that it stops at)
        below += count
        if count > 0 and below >= wanted:
            break
    return float(10 ** ((bin + 0.5) / BINS))  # its middle: at most half a bin off
