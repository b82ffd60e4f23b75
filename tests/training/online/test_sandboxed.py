"""Strangers' rewards in a run: learned from, counted where they fail, ended with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from letters import REWARDS, loop_of, ppo, train

from rewards import Component
from rlhf.errors import StepFailed
from rlhf.models import ModelSettings
from rlhf.runs import Run
from rlhf.training.online.tally import Tally
from rlhf.training.ppo import Clock

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def sandboxed(name: str) -> list[Component]:
    return [Component(name=f"{REWARDS}:{name}", sandbox=True)]


def totals(run: Run) -> list[float]:
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["reward/total"] for row in map(json.loads, lines) if "reward/total" in row]


def test_a_run_learns_from_a_sandboxed_reward_as_from_any(
    letters: ModelSettings, tmp_path: Path
) -> None:
    confined, _ = train(letters, tmp_path / "a", ppo(sandboxed("share_of_a")))
    plain, _ = train(letters, tmp_path / "b", ppo("share_of_a"))
    assert totals(confined) == totals(plain) and len(totals(plain)) == 3


def test_answers_that_it_fails_on_are_left_out_and_counted(letters: ModelSettings) -> None:
    loop = loop_of(letters, ppo(sandboxed("fails_on_some")))
    answers, _ = loop.gather(0, Tally(), Clock())
    assert len(answers) == 11
    figures, _ = loop.round(0)
    assert figures["reward/fails_on_some/invalid"] == pytest.approx(1 / 12)


@pytest.mark.slow
def test_a_hang_ends_the_run_after_its_time(letters: ModelSettings, tmp_path: Path) -> None:
    settings = ppo(sandboxed("hangs"), reward_timeout_s=1.0)
    with pytest.raises(StepFailed, match=r"rewards: .* timed out after 1 s") as raised:
        train(letters, tmp_path, settings)
    assert "\n" not in str(raised.value)
