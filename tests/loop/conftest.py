from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlhf.config import validate
from rlhf.cycle_settings import LoopConfig

TASTE = '''
def plain(prompts, completions, **columns):
    """Likes answers written with low code points: letters and digits, early ones most."""
    texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
    return [-sum(min(ord(x), 300) for x in t) / (len(t) + 1) / 300 for t in texts]
'''


def loop_values(tiny_model: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "tiny",
        "base_model": str(tiny_model),
        "dtype": "float32",
        "dialogues": ["dialogues.jsonl"],
        "held_out": 0.3,
        "sft": {"epochs": 1, "learning_rate": 1e-2, "tracking": "none"},
        "simulate": {
            "taste": {"name": "taste.py:plain"},
            "comparisons": 0.6,
            "sampling": {"max_new_tokens": 12, "batch_size": 16},
        },
        "min_votes": 10,
        "stages": [
            {"stage": "dpo", "learning_rate": 1e-2, "tracking": "none"},
            {"stage": "kto", "learning_rate": 1e-2, "tracking": "none"},
        ],
        "evaluation": {
            "sampling": {"max_new_tokens": 12, "batch_size": 16},
            "judge": {
                "kind": "reward",
                "simulated": True,
                "rewards": [{"name": "taste.py:plain"}],
            },
            "rewards": [{"name": "length", "params": {"low": 1, "high": 30}}],
        },
        "gate": {"zero_tolerance": [], "min_prompts": 5},
    }
    return {**values, **changes}


@pytest.fixture(scope="session")
def tiny_loop(tiny_model: Path) -> Callable[..., dict[str, Any]]:
    """The values of a loop on the tiny model, with changes; writes its taste into a folder."""

    def make(folder: Path, **changes: Any) -> dict[str, Any]:
        (folder / "taste.py").write_text(TASTE)
        return loop_values(tiny_model, **changes)

    return make


@pytest.fixture
def workspace(here: Path) -> Path:
    """A folder with dialogues and a taste of its own."""
    rows = [
        {
            "context": f"User: tell me about item {n} please",
            "response": f"Assistant: item {n} is green and the next is {n + 1}.",
            "style": ["formal", "concise", "caring"][n % 3],
        }
        for n in range(48)
    ]
    (here / "dialogues.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (here / "taste.py").write_text(TASTE)
    return here


MakeConfig = Callable[..., LoopConfig]


@pytest.fixture
def config(tiny_model: Path, workspace: Path) -> MakeConfig:
    """The tiny loop, with changes at the top level; `loop.yaml` holds the same."""

    def make(**changes: Any) -> LoopConfig:
        values = loop_values(tiny_model, **changes)
        (workspace / "loop.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        return validate(LoopConfig, values, "loop.yaml")

    return make
