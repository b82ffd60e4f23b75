"""Krippendorff's alpha: how far voters agree beyond chance, with whatever votes are missing."""

from collections.abc import Hashable, Iterable
from typing import Literal

import numpy as np


def alpha(
    votes: Iterable[tuple[Hashable, float]], level: Literal["nominal", "ordinal"] = "nominal"
) -> float | None:
    """Alpha of (item, value) pairs: 1 full agreement, 0 what chance would give, below 0 worse.

    None where no item has two votes, or all votes are alike: nothing varies, so there is nothing
    to agree about. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
    """
    pairs = list(votes)
    values = sorted({value for _, value in pairs})
    places = {value: place for place, value in enumerate(values)}
    items: dict[Hashable, int] = {}
    rows = [items.setdefault(item, len(items)) for item, _ in pairs]
    counts = np.zeros((len(items), len(values)))
    np.add.at(counts, (rows, [places[value] for _, value in pairs]), 1)
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        return None
    coincidences = _coincidences(counts)
    margins = np.asarray(coincidences.sum(axis=1), float)
    distance = _distance(margins, level)
    expected = float((np.outer(margins, margins) * distance).sum()) / float(margins.sum() - 1)
    if expected == 0:
        return None
    return 1 - float((coincidences * distance).sum()) / expected


def _coincidences(counts: np.ndarray) -> np.ndarray:
    """Pairs of values within an item, each item counting as its number of votes."""
    weight = 1 / (counts.sum(axis=1) - 1)
    table = (counts * weight[:, None]).T @ counts
    table[np.diag_indices(len(table))] -= (counts * weight[:, None]).sum(axis=0)
    return np.asarray(table)


def _distance(margins: np.ndarray, level: str) -> np.ndarray:
    if level == "nominal":
        return 1 - np.eye(len(margins))
    # Ordinal: the square of how many values lie between two, each end counting half.
    heights = np.cumsum(margins) - margins / 2
    return np.asarray((heights[:, None] - heights[None, :]) ** 2)
