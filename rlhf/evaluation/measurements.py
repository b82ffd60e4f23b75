"""All figures that a decision rests on, as one value that goes to JSON and back. No texts in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlhf.evaluation.estimate import Estimate, Floats, cluster_means
from rlhf.evaluation.metrics import Row
from rlhf.evaluation.winrate import WinRate, win_rate


class SideMeasures(BaseModel):
    """One policy's figures."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    policy: str
    rows: list[Row]
    """A row of metrics for each prompt."""
    means: dict[str, Estimate] = {}
    invalid: dict[str, int] = {}
    """Rows that a metric failed on."""

    def values(self, metric: str) -> list[float | None]:
        """The metric on each prompt; NaN counts as absent."""
        found = [row.get(metric) for row in self.rows]
        return [None if is_broken(value) else value for value in found]


@dataclass(frozen=True)
class Paired:
    """Candidate minus champion on the prompts that both have a value for, one per conversation.

    `lost` counts prompts without a difference because the metric failed, or gave a value to one
    side only: a candidate must not pass by answers that cannot be scored.
    """

    differences: Floats
    lost: int


class Measurements(BaseModel):
    """Both sides on the same prompts, and the judge's outcomes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    candidate: SideMeasures
    champion: SideMeasures
    clusters: list[int]
    """Each prompt's conversation, as a number."""
    judge: str
    simulated: bool = False
    """Whether stand-ins for people judged, wholly or in part."""
    outcomes: list[float] = []
    """The candidate's result of each verdict: 1, ½ or 0."""
    outcome_clusters: list[int] = []
    """Each outcome's conversation."""
    no_verdict: int = Field(default=0, ge=0)
    """Pairs that the judge gave no verdict on."""
    agreements: list[float] = []
    """The candidate against each held-out vote: 1 agrees, 0 does not, ½ sees no difference."""
    agreement_clusters: list[int] = []
    """Each such vote's conversation."""

    @model_validator(mode="after")
    def _rows_are_paired(self) -> Self:
        for side in (self.candidate, self.champion):
            if len(side.rows) != len(self.clusters):
                raise ValueError(
                    f"{side.policy} has {len(side.rows)} rows for {len(self.clusters)} prompts"
                )
        if len(self.outcomes) != len(self.outcome_clusters):
            raise ValueError("every outcome needs its conversation")
        return self

    @property
    def prompts(self) -> int:
        """How many prompts both answered."""
        return len(self.clusters)

    @property
    def conversations(self) -> int:
        """How many independent units the prompts come from."""
        return len(set(self.clusters))

    def win_rate(self, confidence: float = 0.95) -> WinRate | None:
        """The candidate's; None without a verdict."""
        return win_rate(self.outcomes, self.outcome_clusters, confidence=confidence)

    def agreement(self, confidence: float) -> WinRate | None:
        """How often the candidate agrees with held-out votes; None without one."""
        return win_rate(self.agreements, self.agreement_clusters, confidence=confidence)

    def paired(self, metric: str) -> Paired:
        """The metric's differences; empty where no prompt has it on both sides."""
        both: list[tuple[float, int]] = []
        one_sided = 0
        for ours, theirs, cluster in zip(
            self.candidate.values(metric),
            self.champion.values(metric),
            self.clusters,
            strict=True,
        ):
            if ours is not None and theirs is not None:
                both.append((ours - theirs, cluster))
            elif ours is not None or theirs is not None:
                one_sided += 1
        failed = max(side.invalid.get(metric, 0) for side in (self.candidate, self.champion))
        differences = cluster_means([d for d, _ in both], [c for _, c in both])
        return Paired(differences, max(one_sided, failed))


def is_broken(value: float | None) -> bool:
    """NaN or infinite: a failure, where None is an absence."""
    return value is not None and not math.isfinite(value)
