"""`docs/reward_guide.md`: its files are written, its commands run, in its order."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "reward_guide.md").read_text(encoding="utf-8")

# What a model of bytes can do in seconds; the guide's own figures are for SmolLM2.
SMALLER = {
    "simulate": ["simulate.prompts=8", "simulate.sampling.max_new_tokens=8", "held_out=0.5"],
    "rewards preview": ["sampling.max_new_tokens=12"],
    "train": ["sampling.max_new_tokens=12", "updates=2"],
    "doctor": [],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def files(here: Path) -> None:
    for block in blocks("python") + blocks("yaml"):
        name = block.split("\n", 1)[0].removeprefix("# ")
        Path(name).write_text(block, encoding="utf-8")
    (here / "configs").symlink_to(ROOT / "configs")


def smaller(arguments: list[str], model: Path) -> list[str]:
    for command, settings in SMALLER.items():
        words = command.split()
        if arguments[: len(words)] == words:
            return [*arguments, f"base_model={model}", *settings]
    return arguments


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_path_from_an_idea_to_a_trained_policy(
    files: None, tiny_model: Path, rlhf: Callable[..., tuple[int, str, str]]
) -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(commands) >= 6
    told = {}
    for command in commands:
        program, *arguments = shlex.split(command)
        code, out, err = rlhf(*smaller(arguments, tiny_model))
        assert program == "rlhf" and code == 0, f"{command}: {err}"
        told[" ".join(arguments[:2])] = out + err
    assert "enough" in told["rewards list"]
    assert "speaks_to_you" in told["rewards score"]
    assert "speaks_to_you" in Path("compare.html").read_text(encoding="utf-8")
    (preview,) = Path("runs").glob("preview-*/preview-*.html")
    assert "without length" in preview.read_text(encoding="utf-8")
    (report,) = Path("runs").glob("rloo-*/report.html")
    (policy,) = Path("runs").glob("rloo-*/adapter/policy.json")
    assert "speaks_to_you" in report.read_text(encoding="utf-8")
    assert json.loads(policy.read_text())["kind"] == "lora"
