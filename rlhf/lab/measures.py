"""All that is measured of several answers to each prompt, and what a mix of it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rewards import Component, RewardSet, RowReward
from rewards.combine import Normalise
from rlhf.errors import UsageError
from rlhf.evaluation.metrics import measure_texts
from rlhf.files import content_id
from rlhf.sampling import Completion
from rlhf.training.online.rollouts import Question, score

Floats = npt.NDArray[np.float64]
Mixes = Mapping[str, Sequence[Component]]

TEXT = ("length", "repetition", "term_density", "finished", "compliance")
"""Measured of every answer, whatever the rewards are."""


@dataclass(frozen=True)
class Parts:
    """The components of all mixes, each once, and every mix as weights by their labels."""

    components: tuple[Component, ...]
    labels: tuple[str, ...]
    vetoes: frozenset[str]
    weights: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Measured:
    """`[prompts, answers]` each, NaN where a measure does not apply; rewards by their labels."""

    rewards: Mapping[str, Floats]
    failed: Mapping[str, npt.NDArray[np.bool_]]
    """Where a reward gave no valid score: such an answer teaches nothing."""
    texts: Mapping[str, Floats]

    def columns(self) -> dict[str, Floats]:
        """Everything, as reports name it."""
        return {f"reward/{name}": values for name, values in self.rewards.items()} | {**self.texts}


@dataclass(frozen=True)
class Combining:
    """How components become one number, as `stage: ppo` has it."""

    normalise: Normalise = "sum"
    veto_score: float = -1.0


def parts_of(mixes: Mixes, base: Path | None, more: Sequence[Component] = ()) -> Parts:
    """Find what the mixes have in common: a reward with the same parameters is scored once."""
    found: dict[str, Component] = {}
    for component in [c for mix in mixes.values() for c in mix] + list(more):
        known = found.setdefault(_key(component), component.model_copy(update={"weight": 1.0}))
        if known.label is None and component.label is not None:
            found[_key(component)] = component.model_copy(update={"weight": 1.0})
    components = tuple(found.values())
    with RewardSet(components, base=base) as rewards:
        labels, summed = rewards.labels, rewards.weights
    label = dict(zip(found, labels, strict=True))
    weights: dict[str, dict[str, float]] = {}
    for name, mix in mixes.items():
        own: dict[str, float] = {}
        for component in mix:
            at = label[_key(component)]
            own[at] = own.get(at, 0.0) + component.weight
        weights[name] = own
    return Parts(components, labels, frozenset(labels) - frozenset(summed), weights)


def _key(component: Component) -> str:
    """What a component scores: all of it but its weight and its name in logs."""
    return content_id(component.model_dump(mode="json", exclude={"weight", "label"}), 24)


def measure_answers(
    parts: Parts,
    asked: Sequence[Question],
    answers: Sequence[Sequence[Completion]],
    base: Path | None,
    timeout_s: float,
) -> Measured:
    """Score all answers, as many to each question as to any other, as training would."""
    shape = (len(asked), len(answers[0]) if answers else 0)
    questions = [q for q, several in zip(asked, answers, strict=True) for _ in several]
    drawn = [answer for several in answers for answer in several]
    with RewardSet(parts.components, base=base, max_invalid=1.0, timeout_s=timeout_s) as rewards:
        scored = score(rewards, questions, drawn)
    raw = {name: _raw(scored, at).reshape(shape) for at, name in enumerate(parts.labels)}
    failed = {name: _failed(scored, at).reshape(shape) for at, name in enumerate(parts.labels)}
    for name, lost in failed.items():
        if lost.size and lost.all():
            why = next(row.scores[parts.labels.index(name)].reason for row in scored)
            raise UsageError(f"reward {name}: failed on every answer: {why}")
    rows = measure_texts([q.prompt for q in questions], drawn).rows
    texts = {name: _column([row[name] for row in rows]).reshape(shape) for name in TEXT}
    return Measured(raw, failed, texts)


def _raw(scored: Sequence[RowReward], at: int) -> Floats:
    return _column([row.scores[at].raw for row in scored])


def _failed(scored: Sequence[RowReward], at: int) -> npt.NDArray[np.bool_]:
    return np.asarray([row.scores[at].status == "invalid" for row in scored], dtype=bool)


def _column(values: Sequence[float | None]) -> Floats:
    return np.asarray([np.nan if v is None else v for v in values], dtype=np.float64)
