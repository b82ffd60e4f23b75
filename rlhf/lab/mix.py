"""A mix of rewards as `rewards:` of a configuration has it, and the raw scores that it is made of.

    rewards: [{name: length, weight: 0.2}, {name: style, params: {target: formal}}]
    normalise: sum

Scores are kept apart by component, so that one scoring answers for every weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rewards import Component, RewardSet, RowReward
from rewards.combine import Normalise
from rlhf.chat import Message
from rlhf.config import Settings, load, validate
from rlhf.data.records import Record
from rlhf.progress import progress

Floats = npt.NDArray[np.float64]

_BATCH = 256


class Mix(Settings):
    """Rewards with their weights: what an answer is worth."""

    rewards: tuple[Component, ...] = Field(min_length=1)
    """Names, weights and parameters."""
    normalise: Normalise = "sum"
    """How components become one number: `sum`, `mean`, or `zscore` over all answers."""
    veto_score: float = Field(default=-1.0, allow_inf_nan=False)
    """The reward of an answer that a veto stops."""


def read_mix(path: Path) -> Mix:
    """The mix of a YAML file, which may be a whole training configuration."""
    values = load(path)
    if "stage" in values:
        values = {key: values[key] for key in Mix.model_fields if key in values}
    return validate(Mix, values, str(path))


@dataclass(frozen=True)
class Answer:
    """One answer of a record; `name` is `completion`, `chosen` or `rejected`."""

    record: Record
    name: str
    text: str

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before it."""
        return self.record.prompt


@dataclass(frozen=True)
class Scores:
    """Raw scores of answers in their order, by component; arrays are `[answers, components]`."""

    labels: tuple[str, ...]
    raw: Floats
    """NaN where a component does not apply or failed."""
    invalid: npt.NDArray[np.bool_]
    """Where it failed."""
    weights: Floats
    """Of the component in the mix, for that answer."""
    veto: npt.NDArray[np.bool_]
    """`[components]`: which stop an answer instead of adding to its sum."""

    def totals(self, normalise: Normalise = "sum", veto_score: float = -1.0) -> Floats:
        """What `rewards.combine` makes of them, `[answers]`; NaN where it gives no number."""
        applies = ~np.isnan(self.raw)
        values = np.where(applies, self.raw, 0.0)
        if normalise == "zscore":
            values = np.where(applies, _standardised(self.raw, ~self.invalid.any(axis=1)), 0.0)
        weights = np.where(applies & ~self.veto, self.weights, 0.0)
        total = (weights * values).sum(axis=1)
        if normalise == "mean":
            size = np.abs(weights).sum(axis=1)
            total = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
        stopped = (self.veto & applies & (np.nan_to_num(self.raw) < 0)).any(axis=1)
        total = np.where(stopped, veto_score, total)
        return np.where(applies.any(axis=1) & ~self.invalid.any(axis=1), total, np.nan)


def answers_of(records: Sequence[Record]) -> list[Answer]:
    """All answers of the records in their order, a pair's chosen one before the rejected one."""
    return [
        Answer(record, name, text)
        for record in records
        for name in ("completion", "chosen", "rejected")
        if (text := getattr(record, name)) is not None
    ]


def scored(
    records: Sequence[Record], components: Sequence[Component], base: Path | None = None
) -> Scores:
    """Scores of `answers_of(records)`; a failed score is counted and costs nothing else."""
    answers = answers_of(records)
    with (
        RewardSet(components, base=base, max_invalid=1.0) as rewards,
        progress("scores", len(answers)) as advance,
    ):
        rows: list[RowReward] = []
        for start in range(0, len(answers), _BATCH):
            part = answers[start : start + _BATCH]
            rows += score_batch(rewards, part)
            advance(len(part))
        return as_scores(rewards.labels, rows)


def score_batch(rewards: RewardSet, answers: Sequence[Answer]) -> list[RowReward]:
    """Rewards of some answers, in TRL's conversational form."""
    return rewards.score(
        [[dict(message) for message in a.prompt] for a in answers],
        [[{"role": "assistant", "content": a.text}] for a in answers],
        {
            "style": [a.record.style for a in answers],
            "intent": [a.record.intent for a in answers],
        },
    )


def as_scores(labels: tuple[str, ...], rows: Sequence[RowReward]) -> Scores:
    """Rows of scores as arrays."""
    shape = (len(rows), len(labels))

    def table(values: Iterator[float]) -> Floats:
        return np.fromiter(values, np.float64, shape[0] * shape[1]).reshape(shape)

    every = [score for row in rows for score in row.scores]
    first = rows[0].scores if rows else ()
    return Scores(
        labels=labels,
        raw=table(np.nan if s.raw is None else s.raw for s in every),
        invalid=table(float(s.status == "invalid") for s in every).astype(bool),
        weights=table(s.weight for s in every),
        veto=np.array([s.veto for s in first] or [False] * len(labels), dtype=bool),
    )


def _standardised(raw: Floats, kept: npt.NDArray[np.bool_]) -> Floats:
    """Each component over the answers that stay; 0 where they are all alike."""
    result = np.zeros_like(raw)
    for column in range(raw.shape[1]):
        values = raw[kept, column]
        values = values[~np.isnan(values)]
        if len(values) and (std := values.std()) > 1e-8 * max(1.0, abs(values.mean())):
            result[:, column] = (raw[:, column] - values.mean()) / std
    return result
