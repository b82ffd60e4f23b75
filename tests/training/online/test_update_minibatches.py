"""Which steps a round has where prompts do not divide evenly, or have no answers, or none here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from letters import loop_of, ppo
from torch import Tensor

from rlhf.models import ModelSettings
from rlhf.training.online.experience import Experience
from rlhf.training.online.tally import Tally
from rlhf.training.online.update import learn
from rlhf.training.ppo import Clock, Loop

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

Reduce = Callable[[Tensor], Tensor]


def begun(letters: ModelSettings, **settings: Any) -> tuple[Loop, Experience]:
    """A loop, and four prompts' answers to learn from; three to each."""
    loop = loop_of(letters, ppo(target_kl=None, **settings))
    return loop, loop.gather(0, Tally(), Clock())[1]


def steps_of(loop: Loop, batch: Experience, tally: Tally, reduce: Reduce | None = None) -> int:
    """Learn from a batch; how often the weights moved."""
    moved: list[Any] = []
    hook = loop.optimizer.register_step_post_hook(lambda *_: moved.append(1))
    beta = loop.kl.coefficient
    by = reduce or loop.reduce
    learn(loop.backbone, loop.optimizer, loop.settings, batch, 0, beta, by, tally)
    hook.remove()
    return len(moved)


def names_in(tally: Tally) -> int:
    """Rows of the table that all processes sum up: a different count is the end of a run."""
    shapes: list[torch.Size] = []

    def reduce(values: Tensor) -> Tensor:
        shapes.append(values.shape)
        return values

    tally.means(reduce, torch.device("cpu"))
    return shapes[0][0]


@pytest.mark.parametrize("minibatches", [1, 2, 3, 4])
def test_a_pass_has_as_many_steps_as_it_is_told(minibatches: int, letters: ModelSettings) -> None:
    """Four prompts in three parts are 2 + 1 + 1, not 2 + 2."""
    loop, batch = begun(letters, epochs=2, minibatches=minibatches)
    assert steps_of(loop, batch, Tally()) == 2 * minibatches


def test_a_step_whose_answers_all_lack_a_reward_is_left_out(letters: ModelSettings) -> None:
    loop, batch = begun(letters, epochs=1, minibatches=4)
    tally = Tally()
    without_last = replace(batch, groups=batch.groups[:-1], places=batch.places[:-1])
    assert steps_of(loop, without_last, tally) == 3
    assert all(math.isfinite(v) for v in tally.means(loop.reduce, torch.device("cpu")).values())


@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_a_process_without_prompts_in_a_round_that_ends_early_tells_the_same_names(
    stage: str, letters: ModelSettings
) -> None:
    loop, batch = begun(letters, stage=stage, epochs=1, minibatches=4)
    here, there = Tally(), Tally()
    assert steps_of(loop, batch, here) == 4
    loop.settings = loop.settings.model_copy(update={"target_kl": 0.05})
    # Another process has ten tokens in the first step, a nat each from who answered.
    elsewhere = replace(batch, groups=[], places=[])
    assert steps_of(loop, elsewhere, there, lambda values: values + 10.0) == 0
    assert names_in(there) == names_in(here)
