"""Weights of a mix out of votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlhf.data.records import Record
from rlhf.errors import DataError, StepFailed
from rlhf.lab.accuracy import Floats
from rlhf.lab.design import Design, design_of
from rlhf.lab.layout import lay_out
from rlhf.lab.mix import Scores
from rlhf.lab.noisy_logistic import NoisyFit, fit_noisy
from rlhf.lab.selection import Keep, Selection, select
from rlhf.progress import progress

_DRAWS = 200
_FEWEST = 30


@dataclass(frozen=True)
class Weight:
    """One component's; `low` and `high` are a 95 % interval, and `why` says why it is 0."""

    label: str
    weight: float
    low: float
    high: float
    why: str | None = None


@dataclass(frozen=True)
class Fitted:
    """Weights whose sizes add up to their number."""

    weights: tuple[Weight, ...]
    slope: float
    """Log odds of a vote for one of the mix's total."""
    noise: float
    """Share of votes that contradict what their voter meant."""
    votes: int
    failed: int
    """Votes left out because a component failed on their answers."""
    loss: float
    """Held-out log loss a vote."""
    chance: float
    """The same without any component."""

    def total(self, scores: Scores) -> Floats:
        """What the mix makes of answers."""
        of = {w.label: w.weight for w in self.weights}
        weights = np.array([of.get(label, 0.0) for label in scores.labels])
        return np.asarray(np.nan_to_num(scores.raw) @ weights)


def fit(records: Sequence[Record], scores: Scores, keep: Keep = "sure", seed: int = 0) -> Fitted:
    """Learn weights from votes and the scores of their answers. Raises `StepFailed`."""
    design = design_of(scores, *lay_out(records))
    if len(design.y) < _FEWEST:
        raise DataError(f"{len(design.y)} votes are too few to learn weights; {_FEWEST} at least")
    if len(scores.labels) and not len(design.labels):
        raise DataError("every component is a veto, which has no weight; name others")
    selection = select(design, keep, seed)
    if not selection.kept:
        raise StepFailed(
            f"no component predicts the {len(design.y)} votes better than chance; "
            "try other rewards, or collect more votes"
        )
    part = design.taking(selection.kept)
    found = fit_noisy(part.x, part.y, part.weights)
    return _fitted(design, selection, part, found, _bootstrap(part, found, seed))


def _bootstrap(part: Design, found: NoisyFit, seed: int) -> Floats:
    """Weights `[draws, components]` of conversations drawn with replacement."""
    draw = np.random.default_rng(seed)
    present, groups = np.unique(part.groups, return_inverse=True)
    count = len(present)
    draws = []
    with progress("intervals", _DRAWS) as advance:
        for _ in range(_DRAWS):
            times = np.bincount(draw.integers(count, size=count), minlength=count)
            weights = part.weights * times[groups]
            if weights.any():
                draws.append(_sized(part, fit_noisy(part.x, part.y, weights, found))[0])
            advance()
    return np.array(draws)


def _sized(part: Design, found: NoisyFit) -> tuple[Floats, float]:
    """Raw weights whose sizes add up to their number, and the slope that was divided out."""
    raw = found.beta[: len(part.labels)] / part.units
    slope = float(np.abs(raw).mean())
    return raw / max(slope, 1e-12), slope


def _fitted(
    design: Design, selection: Selection, part: Design, found: NoisyFit, draws: Floats
) -> Fitted:
    weights, slope = _sized(part, found)
    lows, highs = np.quantile(draws, [0.025, 0.975], axis=0)
    told = {
        label: Weight(label, float(w), float(low), float(high))
        for label, w, low, high in zip(part.labels, weights, lows, highs, strict=True)
    }
    told |= {
        design.labels[i]: Weight(design.labels[i], 0.0, 0.0, 0.0, why)
        for i, why in selection.dropped.items()
    }
    return Fitted(
        weights=tuple(told[label] for label in design.labels),
        slope=slope,
        noise=found.noise,
        votes=len(design.y),
        failed=design.failed,
        loss=selection.loss,
        chance=selection.chance,
    )
