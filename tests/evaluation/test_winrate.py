import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.evaluation.estimate import cluster_means, student_quantile, wilson
from rlhf.evaluation.winrate import power_for_each, prompts_to_keep, prompts_to_win, win_rate

outcomes = st.lists(st.sampled_from([1.0, 0.5, 0.0]), min_size=1, max_size=60)


@pytest.mark.parametrize(("p", "ties"), [(0.5, 0.0), (0.5, 0.6), (0.65, 0.3), (0.9, 0.1)])
def test_the_interval_covers_what_it_says_and_more_with_ties(p, ties):
    rng = np.random.default_rng(0)
    n, trials = 60, 3000
    win = p - ties / 2
    drawn = rng.choice([1.0, 0.5, 0.0], size=(trials, n), p=[win, ties, 1 - win - ties])
    found = [win_rate(row.tolist()) for row in drawn]
    covered = np.mean([w.low <= p <= w.high for w in found])
    assert covered > 0.935
    if ties >= 0.3:
        assert covered > 0.96


@given(outcomes)
def test_swapping_the_sides_mirrors_the_rate(values):
    here, there = win_rate(values), win_rate([1.0 - v for v in values])
    assert here.rate == pytest.approx(1 - there.rate)
    assert here.low == pytest.approx(1 - there.high)
    assert (here.wins, here.ties, here.losses) == (there.losses, there.ties, there.wins)
    assert here.wins + here.ties + here.losses == len(values) == here.n


@given(outcomes, st.integers(2, 5))
def test_repeating_a_conversation_adds_no_evidence(values, times):
    once = win_rate(values, list(range(len(values))))
    groups = [i for i in range(len(values)) for _ in range(times)]
    again = win_rate([v for v in values for _ in range(times)], groups)
    assert (again.rate, again.low, again.high, again.n) == pytest.approx(
        (once.rate, once.low, once.high, once.n)
    )


def test_clusters_are_averaged_first():
    result = win_rate([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert (result.rate, result.n, result.wins, result.losses) == (0.5, 2, 3, 1)
    assert cluster_means([1, 2, 6], ["x", "y", "x"]).tolist() == [3.5, 2.0]


def test_no_outcome_is_none_and_an_odd_one_is_refused():
    assert win_rate([]) is None
    with pytest.raises(ValueError, match="not 2"):
        win_rate([1.0, 2.0])


@pytest.mark.parametrize(("effect", "power"), [(0.1, 0.8), (0.15, 0.9), (0.05, 0.6)])
def test_prompts_to_win_give_the_power_they_promise(effect, power):
    n = prompts_to_win(effect, power, alpha=0.025)
    rng = np.random.default_rng(1)
    wins = rng.binomial(n, 0.5 + effect, size=20_000)
    passed = [wilson(k / n, n)[0] > 0.5 for k in range(n + 1)]
    assert np.mean([passed[k] for k in wins]) == pytest.approx(power, abs=0.04)


@pytest.mark.parametrize(("margin", "sd", "power"), [(0.5, 1.0, 0.8), (0.2, 1.0, 0.9)])
def test_prompts_to_keep_give_the_power_they_promise(margin, sd, power):
    n = prompts_to_keep(margin, sd, power, alpha=0.05)
    rng = np.random.default_rng(2)
    x = rng.normal(0, sd, size=(20_000, n))
    lower = x.mean(1) - student_quantile(0.95, n - 1) * x.std(1, ddof=1) / math.sqrt(n)
    assert np.mean(lower > -margin) == pytest.approx(power, abs=0.015)


def test_few_prompts_allow_for_student_s_t():
    n = prompts_to_keep(1.5, 1.0, 0.9, alpha=0.05)
    x = np.random.default_rng(5).normal(0, 1.0, size=(20_000, n))
    lower = x.mean(1) - student_quantile(0.95, n - 1) * x.std(1, ddof=1) / math.sqrt(n)
    assert np.mean(lower > -1.5) > 0.89


def test_needs_grow_with_power_and_shrink_with_the_effect():
    assert prompts_to_win(0.1) == 194  # ((1.95996·½ + 0.84162·√0.24) / 0.1)², rounded up
    assert prompts_to_win(0.1, 0.95) > prompts_to_win(0.1) > prompts_to_win(0.2)
    assert prompts_to_keep(0.1, 0.0) == 2
    for wrong in (0.0, 0.5, -0.1):
        with pytest.raises(ValueError, match="win rate"):
            prompts_to_win(wrong)
    with pytest.raises(ValueError, match="margin"):
        prompts_to_keep(0.0, 1.0)


def test_splitting_beta_keeps_the_joint_power():
    """Independent conditions, each at its raised power: together above what was asked."""
    for guardrails in (0, 1, 4):
        each = power_for_each(0.8, guardrails)
        assert 0.8 <= each ** (guardrails + 1) < 0.83
    assert power_for_each(0.8, 0) == pytest.approx(0.8)
