"""The README's own reward, in a user's file, works from YAML; so does one of TRL's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlhf.rounds import run_loop

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ROOT = Path(__file__).parent.parent.parent


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readmes_reward_is_measured_without_a_change_to_the_project(
    name: str, config: Any, workspace: Path
) -> None:
    readme = (ROOT / name).read_text(encoding="utf-8")
    (code,) = [b for b in blocks(readme, "python") if "def names_a_deadline" in b]
    (part,) = [b for b in blocks(readme, "yaml") if "my_rewards.py" in b]
    (workspace / "my_rewards.py").write_text(code, encoding="utf-8")
    given = config().model_dump(mode="json")["evaluation"]
    evaluation = {**given, "rewards": yaml.safe_load(part)["evaluation"]["rewards"]}
    (outcome,) = run_loop(config(evaluation=evaluation), workspace)
    measured = json.loads((outcome.report.parent / "measurements.json").read_text())
    for reward in ("names_a_deadline", "style", "think_format_reward"):
        values = [row[f"reward/{reward}"] for row in measured["candidate"]["rows"]]
        assert all(value is not None for value in values), reward
    assert measured["candidate"]["means"]["reward/think_format_reward"]["mean"] == 0.0
    scored = {row["reward/names_a_deadline"] for row in measured["candidate"]["rows"]}
    assert scored <= {0.0, 1.0}
