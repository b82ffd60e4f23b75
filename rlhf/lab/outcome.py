"""What variants gained on held-out prompts, what it cost, and which are worth a closer look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Literal

import numpy as np

from rlhf.evaluation.estimate import Estimate, mean_estimate
from rlhf.evaluation.gate import Guardrail, lower_bound
from rlhf.lab.measures import Combining, Floats, Measured, Parts, together

Verdict = Literal["kept", "unsure", "broken"]
_ALPHA = 0.05
"""Chance to take a guardrail for kept that is in truth worse by its margin."""


@dataclass(frozen=True)
class Outcome:
    """One variant beside the start, over the held-out prompts they both answered."""

    name: str
    mix: str
    kl: Estimate | None
    """Nats an answer, from the start."""
    gains: Mapping[str, Estimate | None]
    """By measure; `yardstick` is the common one, `total` the variant's own mix."""
    guardrails: Mapping[str, Verdict]

    @property
    def gain(self) -> float:
        """By the yardstick."""
        found = self.gains["yardstick"]
        return -np.inf if found is None else found.mean

    @property
    def distance(self) -> float:
        """KL from the start; an estimate from few answers may come out below 0."""
        return np.inf if self.kl is None else self.kl.mean

    @property
    def broken(self) -> bool:
        """Whether a guardrail is."""
        return "broken" in self.guardrails.values()


def outcome_of(
    name: str,
    mix: str,
    measured: Measured,
    start: Measured,
    parts: Parts,
    yardstick: str,
    how: Combining,
    guardrails: Sequence[Guardrail],
) -> Outcome:
    """Paired by prompt: both answered it with the same random numbers."""
    both = together([start, measured])  # so that a z-score is on one scale
    columns = {
        "yardstick": both.totals(parts.weights[yardstick], how),
        "total": both.totals(parts.weights[mix], how),
        **both.columns(),
    }
    cut = start.shape[1]
    gains = {n: _differences(v[:, cut:], v[:, :cut]) for n, v in columns.items()}
    kl = _means(measured.texts["kl"])
    return Outcome(
        name=name,
        mix=mix,
        kl=mean_estimate(kl[~np.isnan(kl)].tolist()),
        gains={n: mean_estimate(g.tolist()) for n, g in gains.items() if n != "kl"},
        guardrails={g.metric: _verdict(g, gains.get(g.metric)) for g in guardrails},
    )


def _means(values: Floats) -> Floats:
    """Of each prompt's answers; NaN where none has a value."""
    known = ~np.isnan(values)
    count = np.where(known.any(1), known.sum(1), np.nan)
    means: Floats = np.where(known, values, 0.0).sum(1) / count
    return means


def _differences(after: Floats, before: Floats) -> Floats:
    found = _means(after) - _means(before)
    return found[~np.isnan(found)]


def _verdict(rail: Guardrail, changes: Floats | None) -> Verdict:
    """Kept where the loss is surely below the margin, broken where its mean is above it."""
    if changes is None or len(changes) < 2:
        return "unsure"
    gains = changes if rail.better == "higher" else -changes
    if float(gains.mean()) < -rail.margin:
        return "broken"
    return "kept" if lower_bound(gains, _ALPHA) > -rail.margin else "unsure"


def front(outcomes: Sequence[Outcome]) -> list[str]:
    """Those that no other beats in gain at no more KL, among the ones without a broken guardrail.

    Ordered by KL (Pareto's front).
    """
    standing = [o for o in outcomes if not o.broken and np.isfinite(o.gain)]
    best: list[Outcome] = []
    for candidate in sorted(standing, key=lambda o: (o.distance, -o.gain)):
        if not best or candidate.gain > best[-1].gain:
            best.append(candidate)
    return [o.name for o in best]


def gains_by_mix(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The mean gain by the yardstick over a mix's algorithms and seeds."""
    names = dict.fromkeys(o.mix for o in outcomes)
    return {n: float(np.mean([o.gain for o in outcomes if o.mix == n])) for n in names}


def kendall_tau(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Kendall's tau-b of two rankings of the same names: 1 is agreement, -1 the reverse.

    None where one of them puts all alike, or there are fewer than two names in both.
    """
    names = sorted(first.keys() & second.keys())
    signs = [
        (np.sign(first[a] - first[b]), np.sign(second[a] - second[b]))
        for a, b in combinations(names, 2)
    ]
    untied = [sum(abs(s[side]) for s in signs) for side in (0, 1)]
    size = sqrt(untied[0] * untied[1])
    return float(sum(a * b for a, b in signs) / size) if size else None
