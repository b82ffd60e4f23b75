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
    wanted, below = share * total, 0
    for bin, count in sorted(bins.items()):
        if count > 0 and below + count >= wanted:
            # Within a bin all sizes are taken to be alike on the logarithm.
            part = min(1.0, max(0.0, (wanted - below) / count))
            return float(10 ** ((bin + part) / BINS))
        below += count
    return float(10 ** ((max(bins) + 1) / BINS))
