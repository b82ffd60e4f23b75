"""Two policies' answers to the same prompts become measurements: all that the gate decides on.

Loading models and drawing answers is the caller's; here come texts, token likelihoods and votes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rewards import Component
from rlhf.config import Settings
from rlhf.evaluation.estimate import Estimate
from rlhf.evaluation.judges import (
    Judge,
    JudgeSettings,
    StoredVerdicts,
    VotesJudgeSettings,
    build_judge,
)
from rlhf.evaluation.likelihood import KL, Perplexity
from rlhf.evaluation.measurements import Measurements, SideMeasures, is_broken
from rlhf.evaluation.metrics import MetricTable, Row, as_turns, measure_texts, summarise
from rlhf.evaluation.verdict import OUTCOME, Verdict
from rlhf.sampling import Completion, Prompt, Sampling

Winner = Literal["candidate", "champion", "tie"]

_WINNER: dict[Verdict, Winner | None] = {
    "a": "candidate",
    "b": "champion",
    "tie": "tie",
    None: None,
}


class EvaluationSettings(Settings):
    """What is measured, on how many prompts, and who judges."""

    prompts: int | None = Field(default=None, ge=1)
    """Held-out prompts to answer; all when unset."""
    sampling: Sampling = Sampling(max_new_tokens=128, temperature=0.7, top_p=0.95)
    """How both policies answer: best as they will be served."""
    seed: int = 0
    """For the choice of prompts and for sampling."""
    rewards: tuple[Component, ...] = ()
    """Rewards to measure, better some that training did not see."""
    judge: JudgeSettings
    """Who says which answer is better."""
    samples: int = Field(default=20, ge=0)
    """Answers shown side by side in the report."""


@dataclass(frozen=True)
class Case:
    """A held-out prompt: the answer on record, its conversation, and what rewards read of it."""

    prompt: Prompt
    reference: str | None = None
    conversation: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One policy's answers, in the order of the cases."""

    policy: str
    answers: Sequence[Completion]
    perplexity: Perplexity | None = None
    kl: KL | None = None
    reference_perplexity: Perplexity | None = None
    """Of the policy's own answers, by the reference: text that is no language surprises it."""


class Sample(BaseModel):
    """One prompt with both answers, for people to look at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[dict[str, str], ...]
    style: str | None = None
    reference: str | None = None
    champion: str
    candidate: str
    verdict: Winner | None = None
    champion_scores: Row = {}
    candidate_scores: Row = {}


@dataclass(frozen=True)
class Evaluation:
    """The figures, and every answer they are about; only the first holds no user's words."""

    measurements: Measurements
    samples: list[Sample]


def measure(
    candidate: Side,
    champion: Side,
    cases: Sequence[Case],
    settings: EvaluationSettings,
    *,
    judge: Judge | StoredVerdicts | None = None,
    base: Path | None = None,
) -> Evaluation:
    """Measure both sides on every case and have their answers judged.

    `judge` stands in for the one that the settings describe; with `kind: votes` the caller reads
    the votes and passes them here.
    """
    columns = _columns(cases)
    if judge is None:
        if isinstance(settings.judge, VotesJudgeSettings):
            raise ValueError("a judge of kind votes needs the stored verdicts")
        judge = build_judge(settings.judge, base, columns)
    clusters = _clusters(cases)
    tables = [
        _measure_side(side, cases, settings.rewards, columns, clusters, base)
        for side in (candidate, champion)
    ]
    if isinstance(judge, StoredVerdicts):
        verdicts: list[Verdict] = [None] * len(cases)
        judged = _from_votes(judge)
    else:
        texts = [[answer.text for answer in side.answers] for side in (candidate, champion)]
        verdicts = judge.judge([c.prompt for c in cases], *texts)
        judged = _from_judge(judge, verdicts, clusters)
    measurements = Measurements(
        clusters=clusters, candidate=tables[0], champion=tables[1], **judged
    )
    return Evaluation(measurements, _samples(cases, candidate, champion, verdicts, measurements))


def _measure_side(
    side: Side,
    cases: Sequence[Case],
    rewards: Sequence[Component],
    columns: Mapping[str, Sequence[Any]],
    clusters: Sequence[int],
    base: Path | None,
) -> SideMeasures:
    table = measure_texts(
        [c.prompt for c in cases],
        side.answers,
        references=[c.reference for c in cases],
        rewards=rewards,
        columns=columns,
        groups=clusters,
        base=base,
    )
    return _with_likelihood(side, table, clusters)


def _with_likelihood(side: Side, table: MetricTable, clusters: Sequence[int]) -> SideMeasures:
    """Add each row's mean negative log-likelihood and KL, and both over all tokens."""
    added: list[Row] = [{} for _ in table.rows]
    means: dict[str, Estimate] = {}
    if (p := side.perplexity) is not None:
        means["perplexity"] = Estimate(p.value, p.low, p.high, len(p.nll))
        for row, nll in zip(added, p.nll, strict=True):
            row["nll"] = nll
    if (own := side.reference_perplexity) is not None:
        means["reference_perplexity"] = Estimate(own.value, own.low, own.high, len(own.nll))
        for row, nll in zip(added, own.nll, strict=True):
            row["reference_nll"] = nll
    if (kl := side.kl) is not None:
        if kl.per_token is not None:
            means["kl_per_token"] = kl.per_token
        for row, value in zip(added, kl.rows, strict=True):
            row["kl"] = value
    invalid = dict(table.invalid)
    for name in {name for row in added for name in row}:
        if failed := sum(is_broken(row[name]) for row in added):
            invalid[name] = failed
    added = [{k: None if is_broken(v) else v for k, v in row.items()} for row in added]
    return SideMeasures(
        policy=side.policy,
        rows=[row | extra for row, extra in zip(table.rows, added, strict=True)],
        means=table.means | summarise(added, clusters) | means,
        invalid=invalid,
    )


def _columns(cases: Sequence[Case]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for case in cases for name in case.columns)
    columns = {name: [case.columns.get(name) for case in cases] for name in names}
    return columns | {"reference": [case.reference for case in cases]}


def _clusters(cases: Sequence[Case]) -> list[int]:
    """A number for each case's conversation, so that no user's words go into the figures."""
    numbers: dict[object, int] = {}
    keys = [c.conversation if c.conversation is not None else i for i, c in enumerate(cases)]
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _from_judge(
    judge: Judge, verdicts: Sequence[Verdict], clusters: Sequence[int]
) -> dict[str, Any]:
    given = [(OUTCOME[v], c) for v, c in zip(verdicts, clusters, strict=True) if v is not None]
    return {
        "judge": judge.name,
        "simulated": judge.simulated,
        "outcomes": [outcome for outcome, _ in given],
        "outcome_clusters": [cluster for _, cluster in given],
        "no_verdict": len(verdicts) - len(given),
    }


def _from_votes(votes: StoredVerdicts) -> dict[str, Any]:
    numbers: dict[str, int] = {}
    return {
        "judge": "votes" if votes.project is None else f"votes in project {votes.project}",
        "simulated": votes.simulated > 0,
        "outcomes": list(votes.outcomes),
        "outcome_clusters": [numbers.setdefault(c, len(numbers)) for c in votes.conversations],
        "no_verdict": 0,
    }


def _samples(
    cases: Sequence[Case],
    candidate: Side,
    champion: Side,
    verdicts: Sequence[Verdict],
    measured: Measurements,
) -> list[Sample]:
    return [
        Sample(
            messages=tuple(as_turns(case.prompt)),
            style=case.prompt.style,
            reference=case.reference,
            champion=champion.answers[i].text,
            candidate=candidate.answers[i].text,
            verdict=_WINNER[verdicts[i]],
            champion_scores=measured.champion.rows[i],
            candidate_scores=measured.candidate.rows[i],
        )
        for i, case in enumerate(cases)
    ]
