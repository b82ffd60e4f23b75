"""Every estimator finds what pays: a bandit, and a letter to be said as often as possible."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from letters import ppo, train

from rlhf.models import ModelSettings
from rlhf.sampling import Sampling
from rlhf.training.online.settings import KlSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]

TASKS = {"first_is_a": 2, "share_of_a": 6}


@pytest.mark.parametrize("stage", ["ppo", "rloo", "grpo", "reinforce++"])
@pytest.mark.parametrize("task", TASKS)
def test_reaches_the_best_reward(
    stage: str, task: str, letters: ModelSettings, tmp_path: Path
) -> None:
    settings = ppo(
        task,
        stage=stage,
        updates=80,
        prompts=8,
        samples=8,
        minibatches=2,
        sampling=Sampling(max_new_tokens=TASKS[task]),
        kl=KlSettings(coefficient=0.0),
        learning_rate=5e-3,
        save_every=1000,
    )
    run, _ = train(letters, tmp_path, settings)
    rewards = [row["reward/total"] for row in run.metrics()]
    print(f"{stage}, {task}: {fmean(rewards[:3]):.3f} to {fmean(rewards[-5:]):.3f}")
    assert fmean(rewards[:3]) < 0.4
    assert fmean(rewards[-5:]) >= 0.95  # of 1, the best there is
