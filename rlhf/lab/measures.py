"""All that is measured of several answers to each prompt, and what a mix of it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rewards import Component, RewardSet
from rewards.totals import Normalise
from rlhf.errors import StepFailed
from rlhf.evaluation.metrics import measure_texts
from rlhf.files import content_id
from rlhf.lab.mix import Scores, as_scores
from rlhf.sampling import Completion
from rlhf.training.online.rollouts import Question, score

Floats = npt.NDArray[np.float64]
Mixes = Mapping[str, Sequence[Component]]

# Measured of every answer, whatever the rewards are.
_TEXT = ("length", "repetition", "term_density", "finished", "compliance")


@dataclass(frozen=True)
class Parts:
    """The components of all mixes, each once, and every mix as factors by their labels.

    A weight that depends on the row stays the component's own, and its factor is 1.
    """

    components: tuple[Component, ...]
    labels: tuple[str, ...]
    weights: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Combining:
    """How components become one number, as `stage: ppo` has it."""

    normalise: Normalise = "sum"
    veto_score: float = -1.0


@dataclass(frozen=True)
class Measured:
    """Several answers to each prompt, measured: `[prompts, answers]` each, NaN for none."""

    shape: tuple[int, int]
    scores: Scores
    texts: Mapping[str, Floats]

    def columns(self) -> dict[str, Floats]:
        """Every measure, as reports name it."""
        rewards = {
            f"reward/{name}": self.scores.raw[:, at].reshape(self.shape)
            for at, name in enumerate(self.scores.labels)
        }
        return rewards | {**self.texts}

    def totals(self, weights: Mapping[str, float], how: Combining) -> Floats:
        """A mix's reward of each answer; NaN where it gives none."""
        kept = [at for at, label in enumerate(self.scores.labels) if label in weights]
        factors = np.asarray([weights[self.scores.labels[at]] for at in kept])
        mix = Scores(
            labels=tuple(self.scores.labels[at] for at in kept),
            raw=self.scores.raw[:, kept],
            invalid=self.scores.invalid[:, kept],
            weights=factors * self.scores.weights[:, kept],
            veto=self.scores.veto[kept],
        )
        return mix.totals(how.normalise, how.veto_score).reshape(self.shape)


def parts_of(mixes: Mixes, base: Path | None, more: Sequence[Component] = ()) -> Parts:
    """Find what the mixes have in common: a reward with the same parameters is scored once."""
    found: dict[str, Component] = {}
    for component in [*(c for mix in mixes.values() for c in mix), *more]:
        key = _key(component)
        if key not in found or (found[key].label is None and component.label is not None):
            found[key] = component.model_copy(update=_unweighted(component))
    components = tuple(found.values())
    with RewardSet(components, base=base) as rewards:
        label = dict(zip(found, rewards.labels, strict=True))
    weights: dict[str, dict[str, float]] = {name: {} for name in mixes}
    for name, mix in mixes.items():
        for component in mix:
            at = label[_key(component)]
            factor = component.weight if component.weights_by is None else 1.0
            weights[name][at] = weights[name].get(at, 0.0) + factor
    return Parts(components, tuple(label.values()), weights)


def _unweighted(component: Component) -> dict[str, float]:
    return {"weight": 1.0} if component.weights_by is None else {}


def _key(component: Component) -> str:
    """What a component adds at factor 1: all of it but its factor and its name in logs."""
    alone = component.model_copy(update=_unweighted(component))
    return content_id(alone.model_dump(mode="json", exclude={"label"}), 24)


def measure_answers(
    parts: Parts,
    asked: Sequence[Question],
    answers: Sequence[Sequence[Completion]],
    base: Path | None,
    timeout_s: float,
) -> Measured:
    """Score all answers, as many to each question as to any other, the way training does."""
    shape = (len(asked), len(answers[0]))
    questions = [q for q, several in zip(asked, answers, strict=True) for _ in several]
    drawn = [answer for several in answers for answer in several]
    with RewardSet(parts.components, base=base, max_invalid=1.0, timeout_s=timeout_s) as rewards:
        rows = score(rewards, questions, drawn)
    for at, name in enumerate(parts.labels):
        if all(row.scores[at].status == "invalid" for row in rows):
            raise StepFailed(f"reward {name}: failed on every answer: {rows[0].scores[at].reason}")
    measured = measure_texts([q.prompt for q in questions], drawn).rows
    texts = {name: [_number(row[name]) for row in measured] for name in _TEXT}
    return Measured(
        shape,
        as_scores(parts.labels, rows),
        {name: np.asarray(values).reshape(shape) for name, values in texts.items()},
    )


def together(several: Sequence[Measured]) -> Measured:
    """Answers of several policies to the same prompts as if one had given them all."""
    first = several[0]
    rows = (first.shape[0], sum(m.shape[1] for m in several))

    def joined(name: str) -> Any:
        parts = [getattr(m.scores, name).reshape(*m.shape, -1) for m in several]
        return np.concatenate(parts, axis=1).reshape(rows[0] * rows[1], -1)

    scores = replace(
        first.scores, raw=joined("raw"), invalid=joined("invalid"), weights=joined("weights")
    )
    texts = {n: np.concatenate([m.texts[n] for m in several], axis=1) for n in first.texts}
    return Measured(rows, scores, texts)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
