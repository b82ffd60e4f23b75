"""Numbers that a run carries from round to round beside its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rlhf.training.online.settings import KlSettings

_LARGEST_ERROR = 0.2


@dataclass(frozen=True)
class KlController:
    """The coefficient of the KL penalty."""

    coefficient: float

    def after(self, settings: KlSettings, kl: float, episodes: int) -> KlController:
        """Steered to the target in proportion to the error (Ziegler et al. 2019, section 2.2).

        `kl` is the round's mean in nats a response. Without a target nothing changes.
        """
        if settings.target is None or not math.isfinite(kl):
            return self
        error = min(_LARGEST_ERROR, max(-_LARGEST_ERROR, kl / settings.target - 1))
        return KlController(self.coefficient * (1 + error * episodes / settings.horizon))


@dataclass(frozen=True)
class RunningMoments:
    """Mean and variance of all numbers seen, batch by batch (Chan et al. 1979)."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def with_batch(self, count: float, mean: float, variance: float) -> RunningMoments:
        """With a batch of `count` numbers of this mean and variance."""
        if not count:
            return self
        both = self.count + count
        apart = mean - self.mean
        squares = self.squares + variance * count + apart * apart * self.count * count / both
        return replace(self, count=both, mean=self.mean + apart * count / both, squares=squares)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0
