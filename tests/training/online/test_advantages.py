"""Advantages against the papers' definitions written out as loops, number by number."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean, stdev

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlhf.training.online.advantages import (
    Reduce,
    Rollout,
    gae,
    grpo,
    moments,
    reinforce_plus_plus,
    rloo,
    token_rewards,
    whiten,
)

JUNK = 1e3  # stands where there is no token: nothing may read it
LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=5)
SHARES = st.floats(0.0, 1.0)


def alone(values: Tensor) -> Tensor:
    """The sum over one process."""
    return values


def mask_of(lengths: Sequence[int]) -> Tensor:
    """True at the tokens of answers of these lengths."""
    return torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


def rollout_of(lengths: Sequence[int], seed: int) -> Rollout:
    generator = torch.Generator().manual_seed(seed)
    mask = mask_of(lengths)
    rewards, values = torch.randn(2, *mask.shape, generator=generator, dtype=torch.float64)
    prompt = torch.zeros(len(lengths), dtype=torch.long)
    return Rollout(rewards.where(mask, 0.0), values.where(mask, JUNK), mask, prompt)


def answers_of(prompts: Sequence[int], totals: Sequence[float], dtype: torch.dtype) -> Rollout:
    """Answers of one to three tokens with these rewards, split over their tokens."""
    mask = mask_of([1 + i % 3 for i in range(len(totals))])
    weights = mask.double() / mask.sum(-1, keepdim=True)
    rewards = (weights * torch.tensor(totals, dtype=torch.float64)[:, None]).to(dtype)
    return Rollout(rewards, torch.full_like(rewards, JUNK), mask, torch.tensor(prompts))


def per_answer(advantages: Tensor, mask: Tensor) -> list[float]:
    """Each answer's one advantage, which all its tokens have and nothing else has."""
    assert not advantages[~mask].any()
    rows = [row[seen] for row, seen in zip(advantages, mask, strict=True)]
    assert all((row == row[0]).all() for row in rows)
    return [float(row[0]) for row in rows]


# Token by token


@given(lengths=LENGTHS, gamma=SHARES, lam=SHARES, seed=st.integers(0, 2**32))
def test_gae_is_the_sum_over_all_later_errors(
    lengths: list[int], gamma: float, lam: float, seed: int
) -> None:
    """Schulman et al. 2016, equation 16: Σ (γλ)^l δ_{t+l}; no value follows the last token."""
    rollout = rollout_of(lengths, seed)
    advantages, returns = gae(rollout, gamma, lam)
    assert not advantages[~rollout.mask].any() and not returns[~rollout.mask].any()
    for row, length in enumerate(lengths):
        reward, value = rollout.rewards[row].tolist(), rollout.values[row].tolist()
        after = [*value[1:length], 0.0]
        errors = [reward[t] + gamma * after[t] - value[t] for t in range(length)]
        for t in range(length):
            expected = sum((gamma * lam) ** (k - t) * errors[k] for k in range(t, length))
            assert float(advantages[row, t]) == pytest.approx(expected, abs=1e-9)
            assert float(returns[row, t]) == pytest.approx(expected + value[t], abs=1e-9)


@given(lengths=LENGTHS, gamma=SHARES, seed=st.integers(0, 2**32))
def test_reinforce_plus_plus_is_the_discounted_reward_to_go(
    lengths: list[int], gamma: float, seed: int
) -> None:
    rollout = rollout_of(lengths, seed)
    found = reinforce_plus_plus(rollout, gamma)
    assert not found[~rollout.mask].any()
    for row, length in enumerate(lengths):
        reward = rollout.rewards[row].tolist()
        for t in range(length):
            expected = sum(gamma ** (k - t) * reward[k] for k in range(t, length))
            assert float(found[row, t]) == pytest.approx(expected, abs=1e-9)


@given(lengths=LENGTHS, seed=st.integers(0, 2**32))
def test_token_rewards_put_the_score_at_the_last_token(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = mask_of(lengths)
    scores = torch.randn(len(lengths), generator=generator)
    penalties = torch.randn(mask.shape, generator=generator).where(mask, JUNK)
    rewards = token_rewards(scores, penalties, mask)
    for row, length in enumerate(lengths):
        for t in range(mask.shape[1]):
            expected = -float(penalties[row, t]) if t < length else 0.0
            if t == length - 1:
                expected += float(scores[row])
            assert float(rewards[row, t]) == pytest.approx(expected, abs=1e-6)


# Answer by answer

# Prompts come in any order, with any number of answers left: rewards may have failed on others.
ANSWERS = st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=12)


@given(answers=ANSWERS)
def test_rloo_compares_with_the_mean_of_the_other_answers(
    answers: list[tuple[int, float]],
) -> None:
    """Ahmadian et al. 2024, equation 8."""
    prompts, totals = zip(*answers, strict=True)
    rollout = answers_of(prompts, totals, torch.float64)
    found = per_answer(rloo(rollout), rollout.mask)
    for i, (prompt, total) in enumerate(answers):
        others = [t for j, (p, t) in enumerate(answers) if p == prompt and j != i]
        expected = total - fmean(others) if others else 0.0
        assert found[i] == pytest.approx(expected, abs=1e-9)


@given(answers=ANSWERS)
def test_grpo_centres_and_scales_within_a_prompt(answers: list[tuple[int, float]]) -> None:
    """Shao et al. 2024, section 4.1.2; deviation by n - 1 with 1e-4 beside it, as TRL has it."""
    prompts, totals = zip(*answers, strict=True)
    rollout = answers_of(prompts, totals, torch.float64)
    found = per_answer(grpo(rollout), rollout.mask)
    for i, (prompt, total) in enumerate(answers):
        fellows = [t for p, t in answers if p == prompt]
        deviation = stdev(fellows) if len(fellows) > 1 else 0.0
        expected = (total - fmean(fellows)) / (deviation + 1e-4)
        assert found[i] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("estimator", [rloo, grpo])
def test_an_answer_whose_fellows_were_dropped_teaches_nothing(estimator: object) -> None:
    rollout = answers_of([0, 7, 0], [1.0, 3.0, 2.0], torch.float32)
    first, single, last = per_answer(estimator(rollout), rollout.mask)  # type: ignore[operator]
    assert single == 0 and first < 0 < last


@pytest.mark.parametrize("estimator", [rloo, grpo])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 33])
@pytest.mark.parametrize("reward", [0.0, 0.1, 5.434895, 1000.1, -777.77])
def test_equal_rewards_teach_nothing(estimator: object, count: int, reward: float) -> None:
    """Rounding is no difference between answers: GRPO would scale it up to a whole advantage."""
    mask = mask_of([2] * count)
    rewards = token_rewards(torch.full((count,), reward), torch.zeros(count, 2), mask)
    rollout = Rollout(rewards, torch.zeros_like(rewards), mask, torch.zeros(count))
    found = estimator(rollout)  # type: ignore[operator]
    assert found.dtype == rewards.dtype
    assert torch.allclose(found, torch.zeros_like(found), rtol=0, atol=1e-6)  # no NaN either


# Whitening


def in_two_processes(shards: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """`whiten` in two threads that see their own shard and meet in the sums alone."""
    meet = threading.Barrier(2, timeout=10)
    given: list[Tensor] = [torch.empty(0), torch.empty(0)]

    def summing(rank: int) -> Reduce:
        def reduce(values: Tensor) -> Tensor:
            given[rank] = values
            meet.wait()
            total = given[0] + given[1]
            meet.wait()
            return total

        return reduce

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(whiten, *shard, summing(n)) for n, shard in enumerate(shards)]
        return [job.result() for job in jobs]


@given(lengths=LENGTHS.filter(lambda lengths: sum(lengths) > 1), seed=st.integers(0, 2**32))
def test_whitened_tokens_have_mean_0_and_variance_1(lengths: list[int], seed: int) -> None:
    mask = mask_of(lengths)
    generator = torch.Generator().manual_seed(seed)
    values = (3 + 2 * torch.randn(mask.shape, generator=generator)).where(mask, JUNK)
    found = whiten(values, mask, alone)
    inside = values[mask].double()
    expected = (inside - inside.mean()) / (inside.var(correction=0) + 1e-8).sqrt()
    assert not found[~mask].any()
    assert torch.allclose(found[mask].double(), expected, atol=1e-3)
    assert float(found[mask].mean()) == pytest.approx(0, abs=1e-4)
    assert float(found[mask].var(correction=0)) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_two_processes_whiten_as_one(cut: int) -> None:
    lengths = [3, 1, 5, 2, 4]
    mask = mask_of(lengths)
    values = torch.randn(mask.shape, generator=torch.Generator().manual_seed(cut)) + 5.0
    together = whiten(values, mask, alone)
    parts = in_two_processes([(values[:cut], mask[:cut]), (values[cut:], mask[cut:])])
    assert torch.allclose(torch.cat(parts), together, rtol=0, atol=1e-6)
    apart = [whiten(values[p], mask[p], alone) for p in (slice(cut), slice(cut, None))]
    assert not torch.allclose(torch.cat(apart), together, atol=1e-2)  # the sums do matter


def test_a_process_without_tokens_changes_nothing() -> None:
    values, mask = torch.tensor([[1.0, 2.0, 4.0]]), torch.ones(1, 3, dtype=torch.bool)
    none = torch.zeros(1, 3, dtype=torch.bool)
    here, there = in_two_processes([(values, mask), (values, none)])
    assert torch.equal(here, whiten(values, mask, alone)) and not there.any()


def test_equal_values_are_whitened_to_nothing() -> None:
    mask = mask_of([2, 3])
    found = whiten(torch.full(mask.shape, 0.3), mask, alone)
    assert torch.allclose(found, torch.zeros_like(found), atol=1e-3)  # no NaN either


@settings(max_examples=50)
@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), offset=st.floats(-1e6, 1e6))
def test_moments_are_those_of_all_values(values: list[float], offset: float) -> None:
    """Two passes: the mean of squares less the square of the mean would drown in an offset."""
    moved = [value + offset for value in values]
    mean, variance = moments(torch.tensor(moved, dtype=torch.float64), alone)
    centre = math.fsum(moved) / len(moved)
    assert mean == pytest.approx(centre, rel=1e-12, abs=1e-9)
    expected = math.fsum((value - centre) ** 2 for value in moved) / len(moved)
    assert variance == pytest.approx(expected, rel=1e-6, abs=1e-9)
