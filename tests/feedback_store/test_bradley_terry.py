import numpy as np
import pytest

from feedback_store.trust.bradley_terry import bradley_terry, negative_log_posterior


def choices(seed: int, answers: int = 30, voters: int = 25, each: int = 150):
    rng = np.random.default_rng(seed)
    strengths = rng.normal(0, 1.5, answers)
    reliability = rng.uniform(0.45, 1.0, voters)
    voter = np.repeat(np.arange(voters), each)
    pairs = np.array([rng.permutation(answers)[:2] for _ in voter])
    gap = strengths[pairs[:, 0]] - strengths[pairs[:, 1]]
    first = (rng.random(len(voter)) < 1 / (1 + np.exp(-gap))) == (
        rng.random(len(voter)) < reliability[voter]
    )
    winner = np.where(first, pairs[:, 0], pairs[:, 1])
    return winner, pairs.sum(axis=1) - winner, voter, strengths, reliability


def test_the_gradient_is_the_losss() -> None:
    winner, loser, voter, _, _ = choices(0, answers=6, voters=4, each=10)
    x = np.random.default_rng(1).normal(0, 1, 10)
    _, gradient = negative_log_posterior(x, winner, loser, voter, 6)
    for place in range(10):
        step = np.zeros(10)
        step[place] = 1e-6
        ahead = negative_log_posterior(x + step, winner, loser, voter, 6)[0]
        behind = negative_log_posterior(x - step, winner, loser, voter, 6)[0]
        assert gradient[place] == pytest.approx((ahead - behind) / 2e-6, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_strengths_and_reliabilities_are_recovered(seed: int) -> None:
    winner, loser, voter, strengths, reliability = choices(seed)
    fit = bradley_terry(winner, loser, voter)
    assert np.corrcoef(fit.strengths, strengths)[0, 1] > 0.95
    assert np.corrcoef(fit.reliability, reliability)[0, 1] >= 0.9
    # Better than counting wins, which believes everybody alike.
    wins = np.bincount(winner, minlength=30) / (
        np.bincount(winner, minlength=30) + np.bincount(loser, minlength=30)
    )
    assert _ordered(fit.strengths, strengths) > _ordered(wins, strengths)
    best, worst = int(strengths.argmax()), int(strengths.argmin())
    assert fit.beats(best, worst) > 0.9 and fit.beats(worst, best) < 0.1


def test_the_fit_is_a_minimum() -> None:
    winner, loser, voter, _, _ = choices(5, answers=8, voters=5, each=40)
    fit = bradley_terry(winner, loser, voter)
    u = np.log(fit.reliability / (1 - fit.reliability))
    _, gradient = negative_log_posterior(
        np.concatenate([fit.strengths, u]), winner, loser, voter, 8
    )
    assert np.abs(gradient).max() < 1e-4


def test_no_choice_is_no_strength() -> None:
    empty = np.zeros(0, np.int64)
    fit = bradley_terry(empty, empty, empty)
    assert len(fit.strengths) == len(fit.reliability) == 0


def _ordered(found: np.ndarray, truth: np.ndarray) -> float:
    upper = np.triu_indices(len(truth), 1)
    return float(
        (np.sign(found[:, None] - found)[upper] == np.sign(truth[:, None] - truth)[upper]).mean()
    )
