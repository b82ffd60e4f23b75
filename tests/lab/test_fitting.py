"""Weights that are known come back out of noisy votes, and what has none stays out."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from planted_mix import COMPONENTS, NAMES, TRUTH, pairs, thumbs
from sklearn.linear_model import LogisticRegression

from rlhf.data.records import Record
from rlhf.errors import StepFailed
from rlhf.lab import fitting
from rlhf.lab.fitting import fit
from rlhf.lab.lasso import largest_penalty, lasso_path
from rlhf.lab.mix import Scores, scored
from rlhf.lab.noisy_logistic import fit_noisy
from rlhf.lab.selection import Keep
from rlhf.lab.shapes import shapes, through


def recovered(records: list[Record]) -> np.ndarray:
    found = fit(records, scored(records, COMPONENTS))
    assert [w.label for w in found.weights] == list(NAMES)
    assert all(w.why for w in found.weights[4:])
    assert found.noise == pytest.approx(0.2, abs=0.04)
    assert found.loss < 0.6 < found.chance
    return np.array([w.weight for w in found.weights])


@pytest.mark.parametrize("seed", range(5))
def test_two_thousand_noisy_pairs_tell_the_mix(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_DRAWS", 10)
    weights = recovered(pairs(seed))
    np.testing.assert_array_equal(weights[4:], 0.0)
    expected = TRUTH[:4] / np.abs(TRUTH[:4]).mean()
    np.testing.assert_allclose(weights[:4], expected, rtol=0.15)


def test_thumbs_tell_the_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_DRAWS", 10)
    weights = recovered(thumbs(1))
    np.testing.assert_array_equal(weights[4:], 0.0)
    np.testing.assert_allclose(weights[:4], TRUTH[:4] / np.abs(TRUTH[:4]).mean(), rtol=0.15)


def test_pairs_and_thumbs_are_fitted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_DRAWS", 10)
    weights = recovered([*pairs(2, 700), *thumbs(2, 1300)])
    np.testing.assert_allclose(weights[:4], TRUTH[:4] / np.abs(TRUTH[:4]).mean(), rtol=0.15)


def test_a_rows_weight_counts() -> None:
    """Votes of weight 0 tell nothing, though they all say the opposite."""
    told = pairs(3, 400)
    against = [
        replace(r, chosen=r.rejected, rejected=r.chosen, weight=1e-9, conversation=f"x{i}")
        for i, r in enumerate(told)
    ]
    found = fit([*told, *against], scored([*told, *against], COMPONENTS))
    assert found.weights[0].low > 0


def test_what_is_useful_holds_what_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_DRAWS", 10)
    records = pairs(8, 600)
    scores = scored(records, COMPONENTS)
    sure, useful = (fit(records, scores, keep) for keep in get_args(Keep))
    kept = [{w.label for w in found.weights if not w.why} for found in (sure, useful)]
    assert kept[0] <= kept[1]
    assert useful.loss <= sure.loss


def test_votes_by_chance_are_told() -> None:
    records = pairs(4, 300, noise=0.5)
    with pytest.raises(StepFailed, match="better than chance"):
        fit(records, scored(records, COMPONENTS))


def test_the_lasso_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(400, 6))
    y = np.where(x @ [1.0, 0.5, 0, 0, 0, -0.7] + draw.logistic(size=400) > 0, 1.0, -1.0)
    weights = draw.uniform(0.2, 2.0, size=400)
    every = np.ones(6, dtype=bool)
    penalties = largest_penalty(x, y, weights, every) * np.array([1.01, 0.5, 0.05])
    found = lasso_path(x, y, weights, every, penalties)
    assert not found[0].any()
    for penalty, beta in zip(penalties[1:], found[1:], strict=True):
        oracle = LogisticRegression(
            l1_ratio=1.0,
            solver="saga",
            C=1.0 / (penalty * weights.sum()),
            fit_intercept=False,
            tol=1e-8,
            max_iter=20_000,
        ).fit(x, y, sample_weight=weights)
        np.testing.assert_allclose(beta, oracle.coef_[0], atol=1e-4)


def test_without_noise_the_fit_is_an_ordinary_one() -> None:
    draw = np.random.default_rng(6)
    x = draw.normal(size=(3000, 3))
    y = (x @ [1.5, -1.0, 0.5] + draw.logistic(size=3000) > 0).astype(float)
    found = fit_noisy(x, y, np.ones(3000))
    oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8).fit(x, y)
    assert found.noise < 0.02
    np.testing.assert_allclose(found.beta, oracle.coef_[0], atol=0.08)


def test_a_curve_is_told_from_a_line() -> None:
    """Voters care for the first reward up to a point, for the second throughout."""
    draw = np.random.default_rng(7)
    raw = draw.uniform(size=(3000, 3))
    worth = 12.0 * np.minimum(raw[:, 0], 0.3) - 1.5 * raw[:, 1]
    first = draw.random(1500) < 1 / (1 + np.exp(worth[1::2] - worth[::2]))
    order = np.where(np.repeat(first, 2), np.arange(3000), np.arange(3000) ^ 1)
    records = [replace(r, chosen="a", rejected="b") for r in pairs(0, 1500)]
    nothing = np.zeros((3000, 3))
    scores = Scores(tuple("xyz"), raw[order], nothing > 0, nothing + 1, np.zeros(3, dtype=bool))
    found = fit(records, scores)
    curves = shapes(records, scores, found)
    assert list(curves) == ["x"]
    x, y = zip(*curves["x"], strict=True)
    half, early = np.interp([0.5, 0.15], x, y)
    assert half > 0.95 and 0.35 < early < 0.65
    again = fit(records, through(scores, curves))
    assert again.loss < found.loss
    assert [bool(w.why) for w in again.weights] == [False, False, True]
