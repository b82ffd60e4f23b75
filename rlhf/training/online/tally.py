"""Means over all answers and tokens of a round, whichever process had them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rlhf.training.online.advantages import Reduce


def standard_error(mean: float, mean_of_squares: float, count: int) -> float:
    """Of the mean of so many numbers."""
    return math.sqrt(max(0.0, mean_of_squares - mean**2) / max(count, 1))


class Tally:
    """Sums and counts by name; every process adds the same names."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor | Sequence[float]) -> None:
        """Count values in; no value still makes the name known."""
        wide = torch.as_tensor(values, dtype=torch.float64).detach().cpu().flatten()
        seen = torch.stack([wide.sum(), torch.tensor(float(len(wide)), dtype=torch.float64)])
        self._sums[name] = self._sums.get(name, torch.zeros(2, dtype=torch.float64)) + seen

    def means(self, reduce: Reduce, device: torch.device) -> dict[str, float]:
        """Every name's mean; one that nothing was counted for is left out."""
        names = sorted(self._sums)
        table = reduce(torch.stack([self._sums[name] for name in names]).to(device)).tolist()
        return {n: total / count for n, (total, count) in zip(names, table, strict=True) if count}
