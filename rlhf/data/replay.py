"""Rows of earlier stages among a stage's own, so that they are not forgotten (Robins 1995)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")


def replayed(own: Sequence[Row], earlier: Sequence[Row], share: float, seed: str) -> list[Row]:
    """Rows drawn from `earlier`, so many that they are `share` of all with `own`, rounded.

    Each comes once before one comes twice.
    """
    count = round(len(own) * share / (1.0 - share))
    if not earlier:
        return []
    whole, rest = divmod(count, len(earlier))
    drawn = random.Random(seed).sample(range(len(earlier)), rest)
    return [*list(earlier) * whole, *(earlier[i] for i in sorted(drawn))]
