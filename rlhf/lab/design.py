"""Votes as rows of a logistic regression over components.

A pair is the difference of its answers' scores and was won (Bradley and Terry 1952); a single vote
is its answer's scores with an intercept of its own. Columns are in deviations of their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlhf.lab.accuracy import Flags, Floats, Ints
from rlhf.lab.layout import Pairs, Thumbs
from rlhf.lab.mix import Scores


@dataclass(frozen=True)
class Design:
    """Rows `[votes, columns]` with labels of 0 and 1; the last column may be an intercept."""

    labels: tuple[str, ...]
    """Components, in the order of the columns."""
    x: Floats
    y: Floats
    weights: Floats
    groups: Ints
    units: Floats
    """`[components]`: what one of a column is in raw scores; 0 where all rows are alike."""
    failed: int
    """Votes left out because a component failed on their answers."""

    @property
    def penalised(self) -> Flags:
        """All but the intercept."""
        return np.arange(self.x.shape[1]) < len(self.labels)

    def rows(self, kept: Flags) -> Design:
        """Only these votes."""
        return replace(
            self,
            x=self.x[kept],
            y=self.y[kept],
            weights=self.weights[kept],
            groups=self.groups[kept],
        )

    def taking(self, components: Sequence[int]) -> Design:
        """Only these components, and the intercept where there is one."""
        columns = [*components, *range(len(self.labels), self.x.shape[1])]
        labels = tuple(self.labels[i] for i in components)
        return replace(self, labels=labels, x=self.x[:, columns], units=self.units[[*components]])


def design_of(scores: Scores, pairs: Pairs, thumbs: Thumbs) -> Design:
    """Components that add to the sum as columns; one that does not apply adds nothing."""
    fitted = np.flatnonzero(~scores.veto)
    raw = np.nan_to_num(scores.raw[:, fitted])
    failed = np.asarray(scores.invalid.any(axis=1))
    won, single = ~(failed[pairs.chosen] | failed[pairs.rejected]), ~failed[thumbs.at]
    differences = pairs.differences(raw)[won]
    alone = raw[thumbs.at][single]
    weights = np.concatenate([pairs.weights[won], thumbs.weights[single]])
    if len(alone):
        alone = alone - np.average(alone, axis=0, weights=thumbs.weights[single])
    x = np.concatenate([differences, alone])
    units = _deviations(x, weights)
    x = np.divide(x, units, out=np.zeros_like(x), where=units > 0)
    if len(alone):
        x = np.column_stack([x, np.arange(len(x)) >= len(differences)])
    return Design(
        labels=tuple(scores.labels[i] for i in fitted),
        x=x,
        y=np.concatenate([np.ones(len(differences)), thumbs.up[single]]),
        weights=weights,
        groups=np.concatenate([pairs.groups[won], thumbs.groups[single]]),
        units=units,
        failed=int((~won).sum() + (~single).sum()),
    )


def _deviations(x: Floats, weights: Floats) -> Floats:
    if not len(x):
        return np.zeros(x.shape[1])
    found = np.sqrt(np.average(x**2, axis=0, weights=weights))
    # What differs by rounding alone is no difference.
    return np.where(found > 1e-9, found, 0.0)
