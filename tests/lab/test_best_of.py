"""Best of k against all subsets of k, and against the bound's closed form."""

from __future__ import annotations

from itertools import combinations
from math import exp, log

import numpy as np
import pytest

from rlhf.lab.best_of import Floats, chances, change, expected, kl_bound, sizes


def by_subsets(rewards: Floats, values: Floats, k: int) -> float:
    """The mean over all subsets of k of what their best has, equal ones sharing."""
    means = []
    for subset in combinations(np.flatnonzero(~np.isnan(rewards)), k):
        drawn = list(subset)
        best = [i for i in drawn if rewards[i] == rewards[drawn].max()]
        means.append(values[best].mean())
    return float(np.mean(means))


@pytest.mark.parametrize("k", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", ["all different", "ties", "some without a reward"])
def test_best_of_k_is_the_mean_over_all_subsets(k: int, kind: str) -> None:
    draw = np.random.default_rng(k)
    rewards = draw.normal(size=(5, 8))
    if kind == "ties":
        rewards = np.round(rewards)
    if kind == "some without a reward":
        rewards[:, [1, 4]] = np.nan
    values = draw.normal(size=(5, 8))
    found = expected(chances(rewards, k), values)
    wanted = [by_subsets(r, v, k) for r, v in zip(rewards, values, strict=True)]
    assert found == pytest.approx(wanted)
    assert chances(rewards, k).sum(1) == pytest.approx(1.0)


def test_a_prompt_with_too_few_rewards_does_not_count() -> None:
    rewards = np.array([[1.0, np.nan, np.nan], [1.0, 2.0, 3.0]])
    found = change(rewards, rewards, 2)
    assert found is not None and found.n == 1
    assert found.mean == pytest.approx((2 + 3 + 3) / 3 - 2)
    assert change(rewards[:1], rewards[:1], 2) is None


def test_prompts_of_one_conversation_are_one_observation() -> None:
    rewards = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0]])
    found = change(rewards, rewards, 2, ["a", "a", "b"])
    assert found is not None and found.n == 2 and found.mean == pytest.approx(1.0)


def test_the_bound_holds_and_is_met_where_no_two_answers_are_alike() -> None:
    """Of many equally likely answers KL is the sum of p log(p N)."""
    count, k = 4_000, 4
    ranks = np.arange(1, count + 1)
    best = (ranks / count) ** k - ((ranks - 1) / count) ** k
    exact = float((best * np.log(best * count)).sum())
    assert exact <= kl_bound(k) and exact == pytest.approx(kl_bound(k), abs=1e-3)
    two = (1 - 0.5**k) * log((1 - 0.5**k) / 0.5) + 0.5**k * log(0.5**k / 0.5)
    assert two < kl_bound(k)  # with two answers only it is far from met
    assert kl_bound(1) == 0 and exp(kl_bound(2)) == pytest.approx(2 * exp(-0.5))


def test_sizes() -> None:
    assert sizes(8) == [1, 2, 4, 8] and sizes(6) == [1, 2, 4, 6] and sizes(2) == [1, 2]
