"""Two learners by what they got for how far they went: reward at equal KL.

A run's curve has a point a batch: the mean reward of its answers, and their KL from the reference.
Both are noisy, so a point here is the mean of `WINDOW` batches on end. KL levels are spread evenly
over what every run passed through; a run's reward at a level is read off where its KL first reaches
it, on the straight line between the two points around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

WINDOW = 4
LEVELS = 4

Row = Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """Means over `WINDOW` batches."""

    reward: float
    kl: float


def smoothed(curve: Sequence[Row]) -> list[Point]:
    """The running mean of a curve's rows, of which it has at least `WINDOW`."""
    windows = (curve[at : at + WINDOW] for at in range(len(curve) - WINDOW + 1))
    return [Point(fmean(r["reward"] for r in w), fmean(r["kl"] for r in w)) for w in windows]


def levels(runs: Sequence[Sequence[Point]]) -> list[float]:
    """KL values that each run passed. Ends the benchmark where the runs have none in common."""
    low = max(run[0].kl for run in runs)
    high = min(max(point.kl for point in run) for run in runs)
    if high <= low:
        raise SystemExit(
            f"no KL that all runs passed: one starts at {low:.2f} nats, another ends at {high:.2f};"
            " train for more batches"
        )
    return [*(low + (high - low) * step / LEVELS for step in range(1, LEVELS)), high]


def reward_at(run: Sequence[Point], kl: float) -> float:
    """When the run's KL first reached `kl`, which it did."""
    after = next(i for i, point in enumerate(run) if point.kl >= kl)
    if after == 0:
        return run[0].reward
    left, right = run[after - 1], run[after]
    share = (kl - left.kl) / (right.kl - left.kl)
    return left.reward + share * (right.reward - left.reward)
