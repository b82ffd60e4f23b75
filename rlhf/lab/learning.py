"""From votes and components to a mix, and its trial on votes that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewards import Component
from rlhf.lab.fitted_mix import Contest, contests
from rlhf.lab.fitting import Fitted, fit
from rlhf.lab.selection import Keep
from rlhf.lab.shapes import shapes, through
from rlhf.lab.unlearned import scored_unlearned
from rlhf.lab.votes import Votes


@dataclass(frozen=True)
class Learned:
    """A mix: components with their labels and curves, their weights, and its trial."""

    components: tuple[Component, ...]
    labels: tuple[str, ...]
    fitted: Fitted
    held_out: list[Contest]


def learn(
    votes: Votes,
    components: Sequence[Component],
    *,
    keep: Keep = "sure",
    curves: bool = False,
    seed: int = 0,
) -> Learned:
    """Fit on the votes that may be seen, and hold the mix against the others."""
    if curves:
        components = [c.model_copy(update={"curve": None}) for c in components]
    scores = scored_unlearned(votes.seen, components)
    fitted = fit(votes.seen, scores, keep, seed)
    bent = shapes(votes.seen, scores, fitted, seed) if curves else {}
    if bent:
        fitted = fit(votes.seen, through(scores, bent), keep, seed)
    aside = through(scored_unlearned(votes.held_out, components), bent)
    final = [
        component.model_copy(update={"curve": bent.get(label, component.curve)})
        for component, label in zip(components, scores.labels, strict=True)
    ]
    return Learned(tuple(final), scores.labels, fitted, contests(fitted, votes.held_out, aside))
