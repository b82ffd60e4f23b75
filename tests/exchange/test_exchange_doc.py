"""`docs/exchange.md`: every command in it runs, every key of a mapping is in it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rlhf.data.columns import Turns
from rlhf.exchange.formats import FORMATS
from rlhf.exchange.mapping import Fields, Mapping

DOC = Path(__file__).parent.parent.parent / "docs" / "exchange.md"
TEXT = DOC.read_text(encoding="utf-8")

FILES = {
    "dialogues.json": ("dialogue.json", "array"),
    "preferences.jsonl": ("trl.jsonl", "lines"),
    "chats.jsonl": ("openai_chat.jsonl", "lines"),
    "feedback-history-export.json": ("open_webui.json", "all"),
    "traces.json": ("langfuse_traces.json", "all"),
    "scores.json": ("langfuse_scores.json", "all"),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def files(samples: Path) -> None:
    """The samples under the names of the text; where it expects no refusal, their good rows."""
    for name, (sample, kind) in FILES.items():
        if kind == "all":
            shutil.copy(sample, name)
        else:
            good = Path(sample).read_text().splitlines()[: 3 if kind == "array" else 2]
            text = "\n".join(good)
            Path(name).write_text(text.rstrip(",") + "]" if kind == "array" else text)


def test_every_command_runs(files: None, rlhf: Callable[..., tuple[int, str, str]]) -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(commands) >= 10
    for command in commands:
        program, *arguments = shlex.split(command)
        code, _, err = rlhf(*arguments)
        assert program == "rlhf" and code == 0, f"{command}: {err}"


def test_every_format_and_key_is_documented() -> None:
    for name in FORMATS:
        assert f"\n| `{name}` |" in TEXT
    top = set(Mapping.model_fields) - {"fields", "turns"}
    below = [f"fields.{name}" for name in Fields.model_fields]
    below += [f"turns.{name}" for name in Turns.model_fields]
    for key in (*top, *below):
        assert f"`{key}`" in TEXT, key


def test_every_mapping_in_it_is_one() -> None:
    for block in blocks("yaml"):
        assert Mapping.model_validate(yaml.safe_load(block))
