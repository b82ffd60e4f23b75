"""A mix of rewards as `rewards:` of a configuration has it, and the raw scores that it is made of.

    rewards: [{name: length, weight: 0.2}, {name: style, params: {target: formal}}]
    normalise: sum

Scores are kept apart by component, so that one scoring answers for every weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rewards import Component, RewardSet, RowReward, list_rewards, resolve
from rewards.running.signature import REQUIRED
from rewards.running.spec import located
from rewards.sandbox import Limits
from rewards.totals import Normalise, Part, add
from rewards.weights import row_weights
from rlhf.chat import Message
from rlhf.config import Settings, load, validate
from rlhf.data.records import Record
from rlhf.data.reward_columns import column_names, columns_of
from rlhf.files import canonical_json
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
    """The mix of a YAML file, which may be a whole training configuration; paths are absolute."""
    values = load(path)
    if "stage" in values:
        values = {key: values[key] for key in Mix.model_fields if key in values}
    mix = validate(Mix, values, str(path))
    base = path.resolve().parent
    return mix.model_copy(update={"rewards": tuple(placed(c, base) for c in mix.rewards)})


def placed(component: Component, base: Path) -> Component:
    """The same with absolute paths, so that mixes of several folders are scored together."""
    changed: dict[str, Any] = {"params": {**component.params, **_paths(component, base)}}
    if ".py:" in component.name:
        file, _, function = component.name.rpartition(":")
        changed["name"] = f"{located(Path(file), base).resolve()}:{function}"
    if isinstance(component.sandbox, Limits):
        read = tuple(located(path, base).resolve() for path in component.sandbox.read)
        changed["sandbox"] = component.sandbox.model_copy(update={"read": read})
    return component.model_copy(update=changed)


def _paths(component: Component, base: Path) -> dict[str, str]:
    """Parameters that are paths: by their type, which a stranger's file is not run to tell."""
    if component.sandbox:
        texts = {k: v for k, v in component.params.items() if isinstance(v, str)}
        return {k: str((base / v).resolve()) for k, v in texts.items() if (base / v).is_file()}
    spec = resolve(component.name, base)
    checked = spec.signature.check(spec.name, component.params)
    return {k: str(located(v, base).resolve()) for k, v in checked.items() if isinstance(v, Path)}


def defaults() -> tuple[Component, ...]:
    """Every reward of this project that needs no parameter; vetoes as ordinary scores."""
    return tuple(
        Component(name=spec.name, veto=False)
        for spec in list_rewards()
        if spec.shipped and REQUIRED not in spec.params.values()
    )


def pooled(mixes: Iterable[Mix]) -> tuple[Component, ...]:
    """Every component of the mixes once, whatever it weighs in them."""
    found: dict[str, Component] = {}
    for mix in mixes:
        for component in mix.rewards:
            # Pooled components are scored, not summed: weights are each mix's own.
            alone = {"weight": 1.0, "weights_by": None}
            if component.label in {other.label for other in found.values()}:
                alone["label"] = None
            found.setdefault(_key(component), component.model_copy(update=alone))
    return tuple(found.values())


def _place(component: Component, pool: Sequence[Component]) -> int:
    return [_key(other) for other in pool].index(_key(component))


def _key(component: Component) -> str:
    return canonical_json([component.name, component.params, component.veto, component.curve])


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

    def of(self, mix: Mix, pool: Sequence[Component], answers: Sequence[Answer]) -> Scores:
        """The components of one mix among those of a pool, with its own weights."""
        picked = [_place(component, pool) for component in mix.rewards]
        columns = _columns(answers, names_of(answers))
        weights = np.empty((len(answers), len(picked)))
        for at, component in enumerate(mix.rewards):
            label = self.labels[picked[at]]
            weights[:, at] = row_weights(label, component.weight, component.weights_by, columns)
        return Scores(
            labels=tuple(self.labels[i] for i in picked),
            raw=self.raw[:, picked],
            invalid=self.invalid[:, picked],
            weights=weights,
            veto=self.veto[picked],
        )

    def totals(self, normalise: Normalise = "sum", veto_score: float = -1.0) -> Floats:
        """What `rewards.combine` makes of them, `[answers]`; NaN where it gives no number."""
        rows = len(self.raw)
        parts = [
            Part(
                label=label,
                weight=self.weights[:, at].tolist(),
                veto=bool(self.veto[at]),
                raw=tuple(self.raw[:, at].tolist()),
                status=tuple("invalid" if i else "ok" for i in self.invalid[:, at].tolist()),
                reason=(None,) * rows,
                numbers=self.raw[:, at],
            )
            for at, label in enumerate(self.labels)
        ]
        return np.array(add(parts, rows, normalise, veto_score).totals, dtype=np.float64)


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
    names = names_of(answers)
    with (
        RewardSet(components, base=base, max_invalid=1.0) as rewards,
        progress("scores", len(answers)) as advance,
    ):
        rows: list[RowReward] = []
        for start in range(0, len(answers), _BATCH):
            part = answers[start : start + _BATCH]
            rows += score_batch(rewards, part, names)
            advance(len(part))
        return as_scores(rewards.labels, rows)


def score_batch(
    rewards: RewardSet, answers: Sequence[Answer], names: Sequence[str]
) -> list[RowReward]:
    """Rewards of some answers, in TRL's conversational form; `names` are `names_of` all answers."""
    return rewards.score(
        [[dict(message) for message in a.prompt] for a in answers],
        [[{"role": "assistant", "content": a.text}] for a in answers],
        _columns(answers, names),
    )


def names_of(answers: Sequence[Answer]) -> tuple[str, ...]:
    """The columns that rewards may read of them."""
    return column_names(answer.record for answer in answers)


def _columns(answers: Sequence[Answer], names: Sequence[str]) -> dict[str, list[Any]]:
    return columns_of([answer.record for answer in answers], names)


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
