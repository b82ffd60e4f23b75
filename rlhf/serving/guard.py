"""When a canary goes back: figures of both arms in, a reason or none out.

Each check is a share of something bad on the canary against the same on the champion, by an
e-process that stays right however often one looks (`log_evidence_above`): down-votes beyond none,
failed and blocked answers beyond a margin, and answers slower than the champion's slowest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from feedback_store.intervals import log_evidence_above
from rlhf.serving.settings import GuardSettings

_QUANTILE = 0.95


@dataclass(frozen=True)
class Figures:
    """What came of one arm's answers while both arms were drawn."""

    ups: int = 0
    downs: int = 0
    answers: int = 0
    errors: int = 0
    blocked: int = 0
    first_token_ms: tuple[float, ...] = ()
    """Of the newest answers; the time to the first token."""


def summary(arm: Figures) -> dict[str, float]:
    """The figures for a report, in numbers alone."""
    told: dict[str, float] = {
        name: getattr(arm, name) for name in ("ups", "downs", "answers", "errors", "blocked")
    }
    return told | (
        {"first_token_p95_ms": percentile(arm.first_token_ms)} if arm.first_token_ms else {}
    )


def breach(canary: Figures, champion: Figures, settings: GuardSettings, share: float) -> str | None:
    """Why the canary goes back, in words fit for a log; None while nothing speaks against it.

    `share` is the canary's part of the users.
    """
    return next(_breaches(canary, champion, settings, share), None)


def _breaches(
    canary: Figures, champion: Figures, settings: GuardSettings, share: float
) -> Iterator[str]:
    enough = -math.log(settings.alpha)
    ours, theirs = _votes(canary), _votes(champion)
    if log_evidence_above(ours, theirs, share=share) >= enough:
        yield f"down-votes {_told(ours)}, the champion's {_told(theirs)}"
    if canary.answers >= settings.min_answers:
        for name, margin in (("errors", settings.errors), ("blocked", settings.blocked)):
            ours = (getattr(canary, name), canary.answers)
            theirs = (getattr(champion, name), champion.answers)
            if log_evidence_above(ours, theirs, margin=margin, share=share) >= enough:
                yield f"{name} {_told(ours)}, the champion's {_told(theirs)}, {margin:.0%} allowed"
    ours_ms, theirs_ms = canary.first_token_ms, champion.first_token_ms
    if min(len(ours_ms), len(theirs_ms)) >= settings.min_answers:
        slowest, limit = percentile(ours_ms), settings.latency * percentile(theirs_ms)
        beyond = (_slower(ours_ms, limit), _slower(theirs_ms, limit))
        allowed = 1.0 - _QUANTILE
        if slowest > limit and log_evidence_above(*beyond, margin=allowed, share=share) >= enough:
            yield (
                f"time to the first token: 95th percentile {slowest:.0f} ms, "
                f"over {settings.latency:g} times the champion's {percentile(theirs_ms):.0f} ms"
            )


def percentile(values: Sequence[float]) -> float:
    """The 95th, by nearest rank."""
    return sorted(values)[math.ceil(_QUANTILE * len(values)) - 1]


def _votes(arm: Figures) -> tuple[int, int]:
    return arm.downs, arm.ups + arm.downs


def _slower(values: Sequence[float], limit: float) -> tuple[int, int]:
    return sum(value > limit for value in values), len(values)


def _told(side: tuple[int, int]) -> str:
    count, total = side
    return f"{count} of {total}"
