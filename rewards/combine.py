"""Several rewards become one number a row, and every part of it stays visible.

    total = Σ wᵢ·xᵢ            over the components that apply to the row        ("sum")
    total = Σ wᵢ·xᵢ / Σ |wᵢ|                                                    ("mean")
    total = Σ wᵢ·zᵢ            zᵢ = (xᵢ − mean) / std over the batch, 0 where
                               the batch has no variance                        ("zscore")

A veto is a gate, not a term: it takes no part in the sum, and where its score is below 0 the
total is `veto_score` whatever the others say. An invalid score takes its row out of the batch.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rewards.curve import Curve, curved
from rewards.errors import BadParameter, TooManyInvalid
from rewards.running.executor import Columns
from rewards.running.find import find, ready
from rewards.running.outcome import Outcomes, Status, by_column, made
from rewards.running.spec import RewardSpec
from rewards.sandbox import Limits
from rewards.texts.batch import forget
from rewards.texts.text import Answers, Turn
from rewards.totals import Normalise, Part, add
from rewards.weights import WeightsBy, row_weights

_RESERVED = {"total", "vetoed", "invalid"}  # `summarise` uses these names itself


class Component(BaseModel):
    """One reward of a configuration: `{name: length, weight: 0.2, params: {high: 60}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """A registered name, `path.py:function` or an import path."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Its factor in the sum; 0 logs it only."""
    weights_by: WeightsBy | None = None
    """A weight for each value of a column instead: `{column: style, weights: {caring: 1.5}}`."""
    params: dict[str, Any] = {}
    """The reward's keyword-only arguments."""
    curve: Curve | None = None
    """Points that its score goes through before it is weighed: `[[0, 0], [0.4, 0.9], [1, 1]]`."""
    veto: bool | None = None
    """Whether a score below 0 overrides the sum; as the reward declares where unset."""
    timeout_s: float | None = Field(default=None, gt=0)
    """Seconds a batch may take; set, the reward runs in a process of its own."""
    process: bool = False
    """Run the reward in a process of its own, so that its crash is not ours."""
    sandbox: bool | Limits = False
    """Run a stranger's file where it can do no harm: `true`, or limits of its own."""
    label: str | None = None
    """Its name in logs; the reward's own where unset."""

    @field_validator("label")
    @classmethod
    def _not_reserved(cls, label: str | None) -> str | None:
        if label in _RESERVED:
            raise ValueError(f"{label!r} is a figure of the whole reward; choose another label")
        return label


class RewardScore(NamedTuple):
    """One component's score of one row, through its curve; None unless the status is "ok"."""

    name: str
    raw: float | None
    weight: float
    status: Status
    reason: str | None = None
    veto: bool = False


class RowReward(NamedTuple):
    """One row's reward; `total` is None where the row is invalid or nothing applies to it."""

    total: float | None
    vetoed: bool
    invalid: bool
    parts: tuple[Part, ...]
    """What the components say of the whole batch, of which this is row `at`."""
    at: int

    @property
    def scores(self) -> tuple[RewardScore, ...]:
        """Each component's score, made when it is asked for: most rows are asked their total."""
        return tuple(_score(part, self.at) for part in self.parts)

    def __repr__(self) -> str:
        return f"RowReward(total={self.total}, scores={self.scores})"


class RewardSet:
    """Components found and ready to score batch after batch; close it, or use it with `with`."""

    def __init__(
        self,
        components: Sequence[Component],
        *,
        base: Path | None = None,
        normalise: Normalise = "sum",
        veto_score: float = -1.0,
        max_invalid: float = 0.1,
        timeout_s: float | None = None,
    ) -> None:
        """`timeout_s` is for components that set none and do not come with this project."""
        self._normalise: Normalise = normalise
        self._veto_score = veto_score
        self._max_invalid = max_invalid
        specs = [find(component, base) for component in components]
        labels = _labels(components, specs)
        executors = [
            ready(component, spec, base, None if spec.shipped else timeout_s)
            for component, spec in zip(components, specs, strict=True)
        ]
        self._parts = list(zip(components, specs, labels, executors, strict=True))

    def score(
        self, prompts: Sequence[Turn], completions: Sequence[Turn], columns: Columns | None = None
    ) -> list[RowReward]:
        """Score one batch. Raises TooManyInvalid."""
        columns = columns or {}
        _check_columns(len(prompts), completions, columns)
        if not completions:
            return []
        try:
            parts = list(self._scored(prompts, Answers(completions), columns))
        finally:
            forget()
        sums = add(parts, len(completions), self._normalise, self._veto_score)
        numbers = range(len(completions))
        rewards = made(
            RowReward, sums.totals, sums.vetoed, sums.invalid, repeat(tuple(parts)), numbers
        )
        if True in sums.invalid:
            _check_invalid(rewards, self._max_invalid)
        return rewards

    def _scored(
        self, prompts: Sequence[Turn], answers: Answers, columns: Columns
    ) -> Iterator[Part]:
        for component, spec, label, executor in self._parts:
            outcomes = executor.score(spec, component.params, prompts, answers, columns)
            veto = spec.veto if component.veto is None else component.veto
            said = by_column(outcomes)
            if component.curve is not None:
                bent = curved(said.values, component.curve)
                said = Outcomes(bent, said.statuses, said.reasons)
            weights = row_weights(label, component.weight, component.weights_by, columns)
            yield Part(label, weights, veto, said.values, said.statuses, said.reasons, said.numbers)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each component's name in logs, in the order of a row's scores."""
        return tuple(label for _, _, label, _ in self._parts)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each component of the sum, by its name in logs; the mean of several."""
        return {
            label: component.weights_by.mean if component.weights_by else component.weight
            for component, spec, label, _ in self._parts
            if not (spec.veto if component.veto is None else component.veto)
        }

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names in logs of components that do not come with this project."""
        return tuple(label for _, spec, label, _ in self._parts if not spec.shipped)

    def close(self) -> None:
        """End the processes that this set started."""
        for _, _, _, executor in self._parts:
            executor.close()

    def __enter__(self) -> "RewardSet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def combine(
    components: Sequence[Component],
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    columns: Columns | None = None,
    base: Path | None = None,
    normalise: Normalise = "sum",
    veto_score: float = -1.0,
    max_invalid: float = 0.1,
) -> list[RowReward]:
    """Score one batch with several rewards; a loop keeps a `RewardSet` instead.

    Raises UnknownReward, BadParameter, and TooManyInvalid where more than the share `max_invalid`
    of the rows has an invalid score.
    """
    with RewardSet(
        components,
        base=base,
        normalise=normalise,
        veto_score=veto_score,
        max_invalid=max_invalid,
    ) as rewards:
        return rewards.score(prompts, completions, columns)


def summarise(rows: Sequence[RowReward]) -> dict[str, float]:
    """Return what a step logs; a mean over no rows is left out rather than made up.

    `reward/<name>` is the mean raw score, `…/applies` and `…/invalid` are shares of the rows, and
    `…/weight` is the mean weight where rows differ in it.
    """
    figures: dict[str, float] = {}
    if not rows:
        return figures
    for scores in zip(*(row.scores for row in rows), strict=True):
        key = f"reward/{scores[0].name}"
        raw = [s.raw for s in scores if s.raw is not None]
        figures |= _mean(key, raw)
        figures[f"{key}/applies"] = len(raw) / len(rows)
        figures[f"{key}/invalid"] = _share(s.status == "invalid" for s in scores)
        if len({s.weight for s in scores}) > 1:
            figures[f"{key}/weight"] = fmean(s.weight for s in scores)
    figures |= _mean("reward/total", [row.total for row in rows if row.total is not None])
    figures["reward/vetoed"] = _share(row.vetoed for row in rows)
    figures["reward/invalid"] = _share(row.invalid for row in rows)
    return figures


def _score(part: Part, at: int) -> RewardScore:
    weight = part.weight[at] if isinstance(part.weight, list) else part.weight
    return RewardScore(
        part.label, part.raw[at], weight, part.status[at], part.reason[at], part.veto
    )


def labels_of(components: Sequence[Component], base: Path | None = None) -> tuple[str, ...]:
    """What a `RewardSet` of these components calls each of them. Raises BadParameter."""
    return tuple(_labels(components, [find(component, base) for component in components]))


def _labels(components: Sequence[Component], specs: Sequence[RewardSpec]) -> list[str]:
    """Name each component in logs: its label, or its reward's name and a number from the second."""
    taken = [component.label for component in components if component.label]
    twice = [label for label, count in Counter(taken).items() if count > 1]
    if twice:
        raise BadParameter(f"two reward components have the label {twice[0]!r}")
    labels = []
    for component, spec in zip(components, specs, strict=True):
        label, number = component.label or spec.name, 1
        while not component.label and label in {*taken, *_RESERVED}:
            number += 1
            label = f"{spec.name}_{number}"
        taken.append(label)
        labels.append(label)
    return labels


def _check_columns(rows: int, completions: Sequence[Turn], columns: Columns) -> None:
    if len(completions) != rows:
        raise BadParameter(f"{rows} prompts but {len(completions)} completions")
    for name, column in columns.items():
        if name in ("prompts", "completions"):
            raise BadParameter(f"a column can't be called {name!r}; rename it")
        if len(column) != rows:
            raise BadParameter(f"column {name!r} has {len(column)} values for {rows} rows")


def _check_invalid(rewards: Sequence[RowReward], max_invalid: float) -> None:
    bad = [s for row in rewards for s in row.scores if s.status == "invalid"]
    if sum(row.invalid for row in rewards) <= max_invalid * len(rewards):
        return
    component, count = Counter(s.name for s in bad).most_common(1)[0]
    reason = next(s.reason for s in bad if s.name == component)
    raise TooManyInvalid(component, count, len(rewards), reason or "no reason given")


def _mean(key: str, values: Sequence[float]) -> dict[str, float]:
    return {key: fmean(values)} if values else {}


def _share(flags: Iterable[bool]) -> float:
    return fmean(map(float, flags))
