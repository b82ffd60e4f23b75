"""The KL coefficient and the running moments against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.training.online.controllers import KlController, RunningMoments
from rlhf.training.online.settings import KlSettings

STEERED = KlSettings(coefficient=0.1, target=6.0, horizon=1000)


@pytest.mark.parametrize(
    ("kl", "error"),
    [
        (6.0, 0.0),
        (6.6, 0.1),
        (5.4, -0.1),
        (7.2, 0.2),
        (60.0, 0.2),  # clipped
        (4.8, -0.2),
        (0.0, -0.2),  # clipped
        (-3.0, -0.2),  # k1's mean may be below zero
    ],
)
def test_the_coefficient_moves_as_ziegler_et_al_write(kl: float, error: float) -> None:
    """Section 2.2: e = clip((KL - target) / target, ±0.2), β ← β (1 + K e); K = n / horizon."""
    after = KlController(0.1).after(STEERED, kl, episodes=64)
    assert after.coefficient == pytest.approx(0.1 * (1 + error * 64 / 1000))


@given(
    coefficient=st.floats(1e-4, 10),
    target=st.floats(0.01, 100),
    kl=st.floats(-100, 1000),
    episodes=st.integers(1, 1000),
    more=st.integers(0, 10**6),
)
def test_any_step_is_the_formula_and_leaves_a_penalty(
    coefficient: float, target: float, kl: float, episodes: int, more: int
) -> None:
    settings = KlSettings(target=target, horizon=episodes + more)
    error = float(np.clip((kl - target) / target, -0.2, 0.2))
    expected = coefficient * (1 + error * episodes / (episodes + more))
    found = KlController(coefficient).after(settings, kl, episodes).coefficient
    assert found == pytest.approx(expected, rel=1e-9) and found > 0


@pytest.mark.parametrize("kl", [0.0, 6.0, 1e6])
def test_without_a_target_the_coefficient_stays(kl: float) -> None:
    settings = KlSettings(coefficient=0.1, horizon=1)
    assert KlController(0.1).after(settings, kl, episodes=64) == KlController(0.1)


@pytest.mark.parametrize("kl", [math.nan, math.inf])
def test_a_kl_that_is_no_number_leaves_the_coefficient_alone(kl: float) -> None:
    assert KlController(0.1).after(STEERED, kl, episodes=64) == KlController(0.1)


@pytest.mark.parametrize("start", [0.001, 1.0])
def test_a_policy_that_answers_to_the_penalty_is_steered_to_the_target(start: float) -> None:
    controller, settings = KlController(start), KlSettings(target=6.0, horizon=640)
    for _ in range(2000):
        controller = controller.after(settings, kl=0.3 / controller.coefficient, episodes=64)
    assert 0.3 / controller.coefficient == pytest.approx(6.0, rel=1e-3)


# Running moments

BATCHES = st.lists(st.lists(st.floats(-1e3, 1e3), max_size=8), min_size=1, max_size=8)


def moments_of(batches: list[list[float]]) -> RunningMoments:
    seen = RunningMoments()
    for batch in batches:
        mean, variance = (np.mean(batch), np.var(batch)) if batch else (0.0, 0.0)
        seen = seen.with_batch(float(len(batch)), float(mean), float(variance))
    return seen


@given(batches=BATCHES, offset=st.sampled_from([0.0, 1e6]))
def test_moments_are_those_of_all_batches_together(
    batches: list[list[float]], offset: float
) -> None:
    moved = [[value + offset for value in batch] for batch in batches]
    every = np.array([value for batch in moved for value in batch])
    seen = moments_of(moved)
    assert seen.count == len(every)
    if len(every):
        assert seen.mean == pytest.approx(every.mean(), rel=1e-9, abs=1e-9)
        assert seen.deviation == pytest.approx(every.std(), rel=1e-5, abs=1e-5)


def test_before_any_batch_there_is_no_deviation() -> None:
    assert RunningMoments().deviation == 0
    assert RunningMoments(3, 1.0, 2.0).with_batch(0, 99.0, 99.0) == RunningMoments(3, 1.0, 2.0)
