"""The examples in docstrings run, and every reward has one."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import rewards
from rewards.running.signature import REQUIRED

MODULES = [m.name for m in pkgutil.iter_modules(rewards.__path__) if m.name != "worker"]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(f"rewards.{name}")
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("spec", rewards.list_rewards(), ids=lambda spec: spec.name)
def test_every_built_in_shows_an_example(spec):
    assert ">>>" in spec.doc


def test_the_guide_lists_every_reward_with_its_parameters():
    guide = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
    section = guide.split("## What there is")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    written = {row[0].strip("| `"): re.findall("`([^`]+)`", row[2]) for row in rows}
    assert written == {
        spec.name: [k if v is REQUIRED else f"{k}={v!r}" for k, v in spec.params.items()]
        for spec in rewards.list_rewards()
    }
