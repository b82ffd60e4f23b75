"""How much a training row counts."""

import math
from collections.abc import Sequence


def row_weight(trust: float, agreement: float, recency: float) -> float:
    """The product of three numbers in [0, 1], to six decimals: bytes must not depend on libm."""
    for name, value in (("trust", trust), ("agreement", agreement), ("recency", recency)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} lies between 0 and 1, not {value}")
    return round(trust * agreement * recency, 6)


def agreement(values: Sequence[float]) -> float:
    """|mean| of votes in [-1, 1] on one thing: 1 if all agree, 0 if they cancel out."""
    if not values:
        raise ValueError("agreement needs a vote")
    # fsum is exact, so the order in which votes came can't show.
    return abs(math.fsum(values)) / len(values)


def recency(age_days: int, half_life_days: float | None) -> float:
    """Halves with every half-life; 1 without one."""
    return 1.0 if half_life_days is None else 0.5 ** (age_days / half_life_days)
