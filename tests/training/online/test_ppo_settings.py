"""What a `stage: ppo` may not ask for, and what is filled in where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rlhf.config import validate
from rlhf.errors import UsageError
from rlhf.training.online.settings import PpoSettings

STAGES = ("ppo", "rloo", "grpo", "reinforce++")


def ppo(**values: Any) -> PpoSettings:
    return validate(PpoSettings, values, "c.yaml")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"sampling": {"top_p": 0.99}}, "whole distribution: top_p 1"),
        ({"sampling": {"temperature": 0}}, "temperature above 0"),
        ({"stage": "rloo", "samples": 1}, "rloo compares answers to one prompt: samples at least"),
        ({"stage": "grpo", "samples": 1}, "grpo compares answers to one prompt: samples at least"),
        ({"stage": "grpo", "kl": {"estimator": "k1"}}, "k1 has no gradient in the loss"),
        ({"kl": {"place": "loss", "estimator": "k1"}}, "k1 has no gradient in the loss"),
        ({"prompts": 4, "minibatches": 5}, "minibatches: 5 of 4 prompts"),
        ({"kl": {"target": 6, "horizon": 63}}, r"kl\.horizon: 63 is under a round's 64 answers"),
        ({"clip_range": 0.2}, "unknown key `clip_range`"),
        ({"kl": {"targt": 6}}, r"unknown key `kl\.targt`; did you mean `target`"),
        ({"alarms": {"lenght": 2}}, r"unknown key `alarms\.lenght`; did you mean `length`"),
        ({"sampling": {"top_k": 5}}, r"unknown key `sampling\.top_k`"),
        ({"stage": "a2c"}, "`stage`: Input should be 'ppo', 'rloo', 'grpo' or 'reinforce"),
        ({"alarms": {"length": 1.0}}, r"`alarms\.length`: Input should be greater than 1"),
        ({"gamma": 0}, "`gamma`: Input should be greater than 0"),
        ({"veto_score": float("nan")}, "`veto_score`: Input should be a finite number"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        ppo(**values)
    assert str(refused.value).startswith("c.yaml: ")


@pytest.mark.parametrize(
    "values",
    [
        {"stage": "ppo", "samples": 1},
        {"stage": "reinforce++", "samples": 1},
        {"prompts": 4, "minibatches": 4},
        {"kl": {"place": "loss", "estimator": "k3"}},
        {"stage": "grpo", "kl": {"place": "reward", "estimator": "k1"}},
        {"kl": {"target": 6, "horizon": 64}},
        {"kl": {"horizon": 1}},  # of no account without a target
        {"alarms": dict.fromkeys(("kl", "entropy", "length", "held_out", "invalid"))},
    ],
)
def test_what_can_be_learned_from_is_taken(values: dict[str, Any]) -> None:
    assert ppo(**values).model_dump(include=values.keys(), exclude_unset=True) == values


@pytest.mark.parametrize("stage", STAGES)
def test_the_penalty_goes_into_the_loss_for_grpo_alone(stage: str) -> None:
    settings = ppo(stage=stage)
    expected = ("loss", "k3") if stage == "grpo" else ("reward", "k1")
    assert (settings.kl_place, settings.kl_estimator) == expected


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        ({"place": "reward"}, ("reward", "k1")),
        ({"place": "loss"}, ("loss", "k3")),
        ({"place": "reward", "estimator": "k3"}, ("reward", "k3")),
    ],
)
@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_a_place_that_is_named_holds_for_every_stage(
    stage: str, kl: dict[str, str], expected: tuple[str, str]
) -> None:
    settings = ppo(stage=stage, kl=kl)
    assert (settings.kl_place, settings.kl_estimator) == expected


def test_settings_do_not_change_under_a_run() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ppo().kl.coefficient = 1.0  # type: ignore[misc]
