"""May the candidate replace the champion? A pure decision on measurements, with its reasons.

Promote when the judge prefers the candidate beyond chance, no guardrail metric is worse by its
margin, and no answer breaks a zero-tolerance rule. What is missing never counts as passed.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlhf.config import Settings
from rlhf.evaluation.estimate import Floats, standard_error, student_quantile
from rlhf.evaluation.measurements import Measurements
from rlhf.evaluation.metrics import RATES
from rlhf.evaluation.winrate import WinRate, power_for_each, prompts_to_keep, prompts_to_win


class WinCondition(Settings):
    """How surely the candidate must win."""

    min_rate: float = Field(default=0.5, gt=0.0, lt=1.0)
    """The lower end of the win rate's interval must lie above this."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    """Of the two-sided interval."""


class Guardrail(Settings):
    """A metric that must not get worse by more than a margin."""

    metric: str
    """A metric of single answers, such as `reward/length`, `rougeL` or `nll`."""
    margin: float = Field(gt=0.0)
    """The loss, in the metric's own unit, that is too much."""
    better: Literal["higher", "lower"] = "higher"
    """Which way is better."""


class AgreementCondition(Settings):
    """How surely the candidate must agree with the held-out votes."""

    min_rate: float = Field(default=0.5, gt=0.0, lt=1.0)
    """The lower end of the agreement's interval must lie above this."""
    confidence: float = Field(default=0.8, gt=0.5, lt=1.0)
    """Of the two-sided interval."""


class GateSettings(Settings):
    """What a candidate must show."""

    win: WinCondition = WinCondition()
    """Against the champion, by the judge."""
    agreement: AgreementCondition | None = None
    """With held-out votes: that it learned from its voters and did not drift by chance."""
    guardrails: tuple[Guardrail, ...] = ()
    """What must not get worse."""
    alpha: float = Field(default=0.05, gt=0.0, lt=0.5)
    """Chance to pass a guardrail that is in truth worse by its margin; one-sided."""
    power: float = Field(default=0.8, gt=0.5, lt=1.0)
    """Chance that a candidate as good as `effect` says passes all conditions together."""
    effect: float = Field(default=0.1, gt=0.0, lt=0.5)
    """The win rate above one half that is worth finding."""
    zero_tolerance: tuple[str, ...] = ("compliance",)
    """Metrics that no answer may violate: rates below 1, rewards below 0."""
    max_violations: int = Field(default=0, ge=0)
    """Violating answers that are let pass, for each of them."""
    min_prompts: int | Literal["power"] = 30
    """Fewer prompts refuse: a number, or as many as `power` needs (which else only warns)."""
    max_invalid: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Largest share of prompts that a metric may fail on, or the judge give no verdict on."""

    @model_validator(mode="after")
    def _effect_is_above_the_bar(self) -> Self:
        if 0.5 + self.effect <= self.win.min_rate:
            raise ValueError(f"effect {self.effect} is not above win.min_rate {self.win.min_rate}")
        return self


class Reason(BaseModel):
    """One condition, and in a sentence how it came out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    passed: bool
    detail: str


class GateDecision(BaseModel):
    """Promote only when every reason passed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promote: bool
    reasons: tuple[Reason, ...]
    win: WinRate | None
    needed_prompts: int
    had_prompts: int
    warnings: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The reasons as plain sentences, for a record."""
        return tuple(f"{'passed' if r.passed else 'refused'}: {r.detail}" for r in self.reasons)


def decide(measured: Measurements, settings: GateSettings) -> GateDecision:
    """Check every condition, so that a refusal names all that is amiss and not only the first."""
    win = measured.win_rate(settings.win.confidence)
    needed = needed_prompts(measured, settings)
    had = measured.conversations if win is None else min(measured.conversations, win.n)
    reasons = [
        _check_count(had, needed, settings),
        _check_win(win, measured, settings),
        *_check_agreement(measured, settings),
        *(_check_guardrail(g, measured, settings) for g in settings.guardrails),
        *(_check_zero(metric, measured, settings) for metric in settings.zero_tolerance),
    ]
    return GateDecision(
        promote=all(reason.passed for reason in reasons),
        reasons=tuple(reasons),
        win=win,
        needed_prompts=needed,
        had_prompts=had,
        warnings=tuple(_warnings(had, needed, measured, settings)),
    )


def prompts_for_win(settings: GateSettings) -> int:
    """Prompts for the win condition alone, at its part of the power."""
    power = power_for_each(settings.power, len(settings.guardrails))
    one_sided = (1.0 - settings.win.confidence) / 2.0
    return prompts_to_win(settings.effect, power, one_sided, settings.win.min_rate)


def needed_prompts(measured: Measurements, settings: GateSettings) -> int:
    """Prompts for a good candidate to pass everything with the power asked for.

    Guardrails count with the spread that was observed; one without two differences counts not.
    """
    power = power_for_each(settings.power, len(settings.guardrails))
    needs = [prompts_for_win(settings)]
    for guardrail in settings.guardrails:
        differences = measured.paired(guardrail.metric).differences
        if len(differences) > 1:
            sd = float(differences.std(ddof=1))
            needs.append(prompts_to_keep(guardrail.margin, sd, power, settings.alpha))
    return max(needs)


def _check_count(had: int, needed: int, settings: GateSettings) -> Reason:
    least = needed if settings.min_prompts == "power" else settings.min_prompts
    return Reason(
        check="prompts",
        passed=had >= least,
        detail=f"{had} independent prompts were judged; at least {least} are asked for.",
    )


def _check_win(win: WinRate | None, measured: Measurements, settings: GateSettings) -> Reason:
    bar, share = settings.win.min_rate, settings.max_invalid
    if win is None:
        detail = f"The judge ({measured.judge}) gave no verdict, so nothing shows a win."
        return Reason(check="win", passed=False, detail=detail)
    asked = len(measured.outcomes) + measured.no_verdict
    if measured.no_verdict > share * asked:
        detail = (
            f"The judge ({measured.judge}) gave no verdict on {measured.no_verdict} of {asked} "
            f"pairs; at most {share:.0%} may lack one."
        )
        return Reason(check="win", passed=False, detail=detail)
    detail = (
        f"The candidate wins {win.rate:.1%} of {win.n} by {measured.judge}"
        f"{' (simulated)' if measured.simulated else ''}, {settings.win.confidence:.0%} interval "
        f"{win.low:.1%} to {win.high:.1%}; the lower end must be above {bar:.1%}."
    )
    return Reason(check="win", passed=win.low > bar, detail=detail)


def _check_agreement(measured: Measurements, settings: GateSettings) -> list[Reason]:
    condition = settings.agreement
    if condition is None:
        return []
    found = measured.agreement(condition.confidence)
    if found is None:
        return [Reason(check="agreement", passed=False, detail="There are no held-out votes.")]
    detail = (
        f"The candidate agrees with {found.rate:.1%} of {found.n} held-out votes, "
        f"{condition.confidence:.0%} interval {found.low:.1%} to {found.high:.1%}; "
        f"the lower end must be above {condition.min_rate:.1%}."
    )
    return [Reason(check="agreement", passed=found.low > condition.min_rate, detail=detail)]


def _check_guardrail(rail: Guardrail, measured: Measurements, settings: GateSettings) -> Reason:
    """Non-inferiority: the gain's one-sided lower bound (Student's t) is above minus the margin."""
    paired = measured.paired(rail.metric)
    gains = paired.differences if rail.better == "higher" else -paired.differences
    problem = _cannot_compare(rail.metric, len(gains), paired.lost, measured, settings)
    if problem:
        return Reason(check=rail.metric, passed=False, detail=problem)
    mean, bound = float(gains.mean()), lower_bound(gains, settings.alpha)
    detail = (
        f"{rail.metric} ({rail.better} is better) gains {_signed(mean)} on average over "
        f"{len(gains)}, with {1 - settings.alpha:.0%} confidence at least {_signed(bound)}; "
        f"it must be above {_signed(-rail.margin)}."
    )
    return Reason(check=rail.metric, passed=bound > -rail.margin, detail=detail)


def _signed(value: float) -> str:
    """Three figures with a real minus, at which no line breaks."""
    return f"{value:+.3g}".replace("-", "−")


def _cannot_compare(
    metric: str, pairs: int, lost: int, measured: Measurements, settings: GateSettings
) -> str | None:
    if lost > settings.max_invalid * measured.prompts:
        return (
            f"{metric} failed, or scored one side only, on {lost} of {measured.prompts} prompts; "
            f"at most {settings.max_invalid:.0%} may."
        )
    if pairs == 0:
        known = sorted({name for row in measured.candidate.rows for name in row})
        return f"{metric} was not measured for both; measured: {', '.join(known) or 'nothing'}."
    if pairs < 2:
        return f"{metric} has one difference only, which shows no spread; use more prompts."
    return None


def lower_bound(gains: Floats, alpha: float) -> float:
    """What the mean is above with confidence 1 - alpha, from at least two values."""
    quantile = student_quantile(1.0 - alpha, len(gains) - 1)
    return float(np.mean(gains)) - quantile * standard_error(gains)


def _check_zero(metric: str, measured: Measurements, settings: GateSettings) -> Reason:
    values = measured.candidate.values(metric)
    unchecked = sum(v is None for v in values)
    if unchecked:
        detail = f"{metric} could not be checked on {unchecked} of {len(values)} candidate answers."
        return Reason(check=metric, passed=False, detail=detail)
    found = _violations(metric, values)
    before = _violations(metric, measured.champion.values(metric))
    allowed = settings.max_violations
    detail = f"{len(found)} of {len(values)} candidate answers violate {metric}; {allowed} may."
    if found:
        shared = len(found & before)
        detail += f" The champion does on {len(before)}, {shared} of them the same prompts."
    return Reason(check=metric, passed=len(found) <= allowed, detail=detail)


def _violations(metric: str, values: list[float | None]) -> set[int]:
    clean = 1.0 if metric in RATES else 0.0
    return {i for i, value in enumerate(values) if value is not None and value < clean}


def _warnings(had: int, needed: int, measured: Measurements, settings: GateSettings) -> list[str]:
    found = []
    if had < needed:
        found.append(
            f"With {had} prompts a candidate that wins {0.5 + settings.effect:.0%} may well be "
            f"refused: {needed} find it with {settings.power:.0%} power."
        )
    if measured.simulated:
        found.append("The verdicts are simulated users', not people's.")
    for side in (measured.candidate, measured.champion):
        if failed := {k: v for k, v in side.invalid.items() if v}:
            told = ", ".join(f"{name} on {count}" for name, count in sorted(failed.items()))
            found.append(f"Scores failed for {side.policy}: {told}.")
    return found
