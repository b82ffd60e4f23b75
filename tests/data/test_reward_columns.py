"""A row's own columns reach the rewards: of a file, of training, of the laboratory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rewards import Component
from rlhf.data.records import Record, read_records
from rlhf.data.reward_columns import column_names, columns_of
from rlhf.lab.mix import scored
from rlhf.train import parse_train_config, train

SAD = {"context": "User: My parcel is lost.", "mood": "sad", "sources": ["a.org"], "user": "u1"}
GLAD = {"context": "User: It came, thanks!", "mood": "glad", "intent": "praise"}
BARE = {"context": "User: When do you open?"}


def write(rows: list[Mapping[str, Any]], answer: str | None = None) -> Path:
    told = [row | ({"response": f"Assistant: {answer}"} if answer else {}) for row in rows]
    path = Path("rows.jsonl")
    path.write_text("\n".join(map(json.dumps, told)) + "\n", encoding="utf-8")
    return path


def test_every_batch_has_every_column_and_nobodys_id(here: Path) -> None:
    records = read_records(write([BARE, SAD, GLAD]), answered=False)
    names = column_names(records)
    assert names == ("style", "intent", "mood", "sources")
    assert columns_of(records[:1], names) == {n: [None] for n in names}
    assert columns_of(records, names)["mood"] == [None, "sad", "glad"]
    assert columns_of(records, names)["intent"] == [None, None, "praise"]


def test_the_laboratory_weighs_by_them(here: Path) -> None:
    by = {"column": "mood", "weights": {"sad": 2.0, "default": 0.5}}
    records = read_records(write([SAD, GLAD, BARE], "We look for it."))
    found = scored(records, [Component(name="length", weights_by=by)])  # type: ignore[arg-type]
    assert found.weights[:, 0].tolist() == [2.0, 0.5, 0.5]


def test_a_citation_is_held_against_the_rows_own_sources(here: Path) -> None:
    records: list[Record] = read_records(write([SAD], "It is on its way [1]. See [7]."))
    with_them = scored(records, [Component(name="citation")]).raw[0, 0]
    without = read_records(write([{**SAD, "sources": None}], "It is on its way [1]. See [7]."))
    assert with_them > scored(without, [Component(name="citation")]).raw[0, 0]


REWARD = """
def seen(prompts, completions, *, mood, completion_ids, **columns):
    assert set(columns) >= {"sources", "intent", "style", "reference"}, sorted(columns)
    assert "user" not in columns
    with open("seen.txt", "a") as file:
        file.writelines(f"{m}\\n" for m in mood)
    return [float(len(ids)) for ids in completion_ids]
"""


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_training_and_its_proof_hand_them_on(
    here: Path, tiny_model: Path, rlhf: Callable[..., tuple[int, str, str]]
) -> None:
    Path("seen.py").write_text(REWARD)
    rows = [{**row, "context": f"{row['context']} {n}"} for n in range(4) for row in (SAD, GLAD)]
    values = {
        "stage": "rloo",
        "base_model": str(tiny_model),
        "data": {"path": str(write([*rows, BARE])), "held_out": 0.3},
        "rewards": [
            {
                "name": "seen.py:seen",
                "weights_by": {"column": "mood", "weights": {"sad": 1.0, "default": 0.0}},
            }
        ],
        "updates": 1,
        "prompts": 4,
        "samples": 2,
        "sampling": {"max_new_tokens": 4},
        "tracking": "none",
    }
    trained = train(parse_train_config(values, "here"), here)
    assert trained.policy is not None
    assert {"sad", "glad"} <= set(Path("seen.txt").read_text().split())
