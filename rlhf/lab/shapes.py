"""Monotone curves of components, where a straight line leaves something to be told.

A curve is straight between quantiles of the scores, with slopes of one sign. A component gets one
if held-out votes are predicted better by more than the standard error of that, with the others as
straight lines beside it; then all curves are fitted together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from rewards.curve import Points
from rlhf.data.records import Record
from rlhf.evaluation.paired import sigmoid
from rlhf.lab.accuracy import Floats
from rlhf.lab.design import Design, design_of
from rlhf.lab.fitting import Fitted
from rlhf.lab.layout import lay_out
from rlhf.lab.mix import Scores
from rlhf.lab.selection import folds_of, losses_of

Labels = npt.NDArray[np.str_]

_KNOTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Pulls the slopes of a curve together, in votes: a bend needs evidence.
_SMOOTH = 2.0


def shapes(
    records: Sequence[Record], scores: Scores, fitted: Fitted, seed: int = 0
) -> dict[str, Points]:
    """By component, the points of its curve; those that a line serves as well are left out."""
    signs = {w.label: float(np.sign(w.weight)) for w in fitted.weights if not w.why}
    knots = {label: _knots(scores.raw[:, scores.labels.index(label)]) for label in signs}
    lines = {label: ends[[0, -1]] for label, ends in knots.items()}
    straight = _losses(records, scores, signs, lines, seed)
    bent = {
        label: points
        for label, points in knots.items()
        if len(points) > 2
        and _better(straight, _losses(records, scores, signs, lines | {label: points}, seed))
    }
    if not bent:
        return {}
    design, sign, owner = _pieces(records, scores, signs, lines | bent)
    slopes = np.abs(_fit(design, sign, owner))[: len(owner)]
    slopes = np.divide(slopes, design.units, out=np.zeros_like(slopes), where=design.units > 0)
    return {label: _points(points, slopes[owner == label]) for label, points in bent.items()}


def through(scores: Scores, curves: Mapping[str, Points]) -> Scores:
    """The scores as they are behind these curves."""
    raw = scores.raw.copy()
    for label, points in curves.items():
        at = scores.labels.index(label)
        x, y = zip(*points, strict=True)
        raw[:, at] = np.interp(raw[:, at], x, y)  # NaN stays NaN
    return replace(scores, raw=raw)


def _knots(raw: Floats) -> Floats:
    return np.unique(np.nanquantile(raw, _KNOTS))


def _pieces(
    records: Sequence[Record],
    scores: Scores,
    signs: Mapping[str, float],
    knots: Mapping[str, Floats],
) -> tuple[Design, Floats, Labels]:
    """A column for each piece of each component: how far the score has come in it.

    Also each column's sign (0 for an intercept) and the label of its component.
    """
    columns, owner = [], []
    for label, points in knots.items():
        raw = scores.raw[:, [scores.labels.index(label)]]
        columns.append(np.clip(raw, points[:-1], points[1:]) - points[:-1])
        owner += [label] * (len(points) - 1)
    table = np.concatenate(columns, axis=1)
    failed = np.asarray(scores.invalid.any(axis=1))
    spread = np.broadcast_to(failed[:, None], table.shape)
    pieces = Scores(
        tuple(owner), table, spread, np.ones_like(table), np.zeros(len(owner), dtype=bool)
    )
    design = design_of(pieces, *lay_out(records))
    sign = np.zeros(design.x.shape[1])
    sign[: len(owner)] = [signs[label] for label in owner]
    return design, sign, np.array(owner)


def _losses(
    records: Sequence[Record],
    scores: Scores,
    signs: Mapping[str, float],
    knots: Mapping[str, Floats],
    seed: int,
) -> tuple[Floats, Design]:
    """Log loss of each vote by curves that did not see its fold."""
    design, sign, owner = _pieces(records, scores, signs, knots)
    found = np.zeros(len(design.y))
    folds = folds_of(design.groups, seed)
    for fold in np.unique(folds):
        aside = folds == fold
        beta = _fit(design.rows(~aside), sign, owner)
        found[aside] = losses_of(design.x[aside] @ beta, design.y[aside])
    return found, design


def _better(straight: tuple[Floats, Design], bent: tuple[Floats, Design]) -> bool:
    """Whether the second loss is less, by more than the error of that."""
    design = straight[1]
    w = design.weights / design.weights.sum()
    gained = straight[0] - bent[0]
    mean = float(w @ gained)
    error = float(np.sqrt((np.bincount(design.groups, w * (gained - mean)) ** 2).sum()))
    return mean > error


def _fit(design: Design, sign: Floats, owner: Labels) -> Floats:
    """Logistic coefficients of the given signs, those of a component pulled together."""
    w = design.weights / design.weights.sum()
    units = np.where(design.units > 0, design.units, 1.0)
    inner = np.flatnonzero(owner[1:] == owner[:-1])
    typical = np.array([units[owner == label].mean() for label in owner])

    def loss(beta: Floats) -> tuple[float, Floats]:
        p = sigmoid(design.x @ beta)
        slopes = beta[: len(owner)] * typical / units
        bends = slopes[inner + 1] - slopes[inner]
        pull = np.zeros_like(beta)
        np.add.at(pull, inner + 1, bends * (typical / units)[inner + 1])
        np.add.at(pull, inner, -bends * (typical / units)[inner])
        smooth = _SMOOTH / len(design.y)
        value = float(w @ losses_of(design.x @ beta, design.y)) + smooth / 2 * float(bends @ bends)
        return value, design.x.T @ (w * (p - design.y)) + smooth * pull

    bounds = [{1.0: (0, None), -1.0: (None, 0), 0.0: (None, None)}[s] for s in sign.tolist()]
    start = np.zeros(design.x.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def _points(knots: Floats, slopes: Floats) -> Points:
    """From the first knot's score on, and as steep in the mean as the score itself."""
    rises = slopes * np.diff(knots)
    total = float(rises.sum())
    scale = (knots[-1] - knots[0]) / total if total > 0 else 1.0
    heights = knots[0] + np.concatenate([[0.0], np.cumsum(rises * scale)])
    points = zip(knots.tolist(), heights.tolist(), strict=True)
    return tuple((float(f"{x:.6g}"), float(f"{y:.6g}")) for x, y in points)
