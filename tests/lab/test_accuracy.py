"""Agreement against brute force, scikit-learn and SciPy; intervals that know of groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from rlhf.evaluation.estimate import wilson
from rlhf.lab.accuracy import auc, auc_influence, difference, pair_accuracy, pair_influence
from rlhf.lab.calibration import calibrate_pairs, calibrate_thumbs
from rlhf.lab.traits import spearman


def votes(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    scores = np.round(draw.normal(size=count), 1)
    up = scores + draw.normal(size=count) > 0
    return scores, up, draw.uniform(0.1, 2.0, size=count)


def test_accuracy_counts_ties_as_halves() -> None:
    differences = np.array([1.0, -2.0, 0.0, np.nan, 3.0])
    told = pair_accuracy(differences, np.ones(5), np.arange(5))
    assert told is not None
    assert (told.rate, told.n, told.ties) == (2.5 / 4, 4, 0.25)
    assert (told.low, told.high) == pytest.approx(wilson(2.5 / 4, 4))


def test_auc_is_that_of_scikit_learn() -> None:
    scores, up, weights = votes(1)
    told = auc(scores, up, weights, np.arange(300))
    assert told is not None
    assert told.rate == pytest.approx(roc_auc_score(up, scores, sample_weight=weights))
    assert told.low < told.rate < told.high


def test_the_interval_of_an_auc_is_that_of_resampling() -> None:
    scores, up, _ = votes(2)
    told = auc(scores, up, np.ones(300), np.arange(300))
    draw = np.random.default_rng(0)
    rates = []
    for _ in range(400):
        at = draw.integers(300, size=300)
        rates.append(auc_influence(scores[at], up[at], np.ones(300)).rate)
    assert told is not None
    low, high = np.quantile(rates, [0.025, 0.975])
    assert (told.low, told.high) == pytest.approx((low, high), abs=0.015)


@pytest.mark.parametrize("times", [2, 5])
def test_the_same_vote_again_is_no_more_evidence(times: int) -> None:
    scores, up, weights = votes(3)
    groups = np.arange(300)
    again = [np.repeat(v, times) for v in (scores, up, weights, groups)]
    once, often = auc(scores, up, weights, groups), auc(*again)
    assert once is not None and often is not None
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    first, repeated = (
        pair_accuracy(v[0], v[2], v[3]) for v in ((scores, up, weights, groups), again)
    )
    assert first is not None and repeated is not None
    assert (repeated.low, repeated.high) == pytest.approx((first.low, first.high), abs=2e-3)


def test_nothing_to_say_is_none() -> None:
    nothing = np.full(3, np.nan)
    assert pair_accuracy(nothing, np.ones(3), np.arange(3)) is None
    assert auc(np.ones(3), np.ones(3, dtype=bool), np.ones(3), np.arange(3)) is None
    assert spearman(np.ones(5), np.arange(5.0)) is None


def test_the_difference_of_equals_is_zero_and_of_unequals_is_sure() -> None:
    scores, up, weights = votes(4, 2000)
    noise = np.random.default_rng(44).normal(size=2000)
    good, bad = (auc_influence(s, up, weights) for s in (scores, noise))
    groups = np.arange(2000)
    assert difference(good, good, groups) == {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    assert difference(good, bad, groups)["low"] > 0.1
    wins = pair_influence(np.abs(noise), weights), pair_influence(noise, weights)
    assert difference(*wins, groups)["mean"] == pytest.approx(0.5, abs=0.05)


def test_rank_correlation_is_that_of_scipy() -> None:
    scores, up, _ = votes(5)
    assert spearman(scores, up.astype(float)) == pytest.approx(spearmanr(scores, up).statistic)


def test_a_logistic_score_is_calibrated_and_a_coarse_one_is_not() -> None:
    draw = np.random.default_rng(6)
    score = draw.normal(size=6000) * 1.5
    wins = np.where(draw.random(6000) < 1 / (1 + np.exp(-score)), score, -score)
    told = calibrate_pairs(wins, np.ones(6000), np.arange(6000))
    cubed = calibrate_pairs(wins**5, np.ones(6000), np.arange(6000))
    assert told is not None and cubed is not None
    assert told.ece < 0.03 < cubed.ece
    up = (draw.random(6000) < 1 / (1 + np.exp(-score - 1))).astype(float)
    single = calibrate_thumbs(score, up, np.ones(6000), np.arange(6000))
    assert single is not None
    assert single.ece < 0.03
