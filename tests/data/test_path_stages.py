"""The marks against 63 dialogues that were labelled by hand, Chinese and English."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlhf.data.path_stages import STAGES, stages_of, turns_of

DIALOGUES = Path(__file__).with_name("path_dialogues.jsonl")


def row_of(turns: list[str], language: str = "") -> dict[str, Any]:
    roles = ["user", "assistant"] * len(turns)
    said = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return {"prompt": said[:-1], "completion": turns[-1], "language": language}


def labelled() -> list[dict[str, Any]]:
    return [json.loads(line) for line in DIALOGUES.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("told", [True, False], ids=["language told", "language not told"])
def test_precision_and_recall(language: str, told: bool) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    missed = []
    for dialogue in labelled():
        if dialogue["language"] == language:
            found = stages_of(row_of(dialogue["turns"], language if told else ""))
            for stage in STAGES:
                counts[stage, f"{stage in dialogue['stages']} {stage in found}"] += 1
            if found != set(dialogue["stages"]):
                missed.append((dialogue["turns"], sorted(found)))
    for stage in STAGES:
        hits = counts[stage, "True True"]
        assert hits >= 0.9 * (hits + counts[stage, "False True"]), (stage, missed)
        assert hits >= 0.9 * (hits + counts[stage, "True False"]), (stage, missed)


def test_a_question_that_the_answer_goes_on_to_answer_asks_nobody() -> None:
    row = row_of(["手脚发麻？", "为什么会发麻呢？因为神经受压。多活动。"], "zh")
    assert stages_of(row) == {"question"}


@pytest.mark.parametrize("piece", ["?", "a ", "是", "您", "i ", "? a", "已为您", ". ", "please "])
def test_time_grows_with_length_only(piece: str) -> None:
    text = "?" + piece * (100_000 // len(piece))
    started = time.process_time()
    stages_of(row_of([text, text]))
    assert time.process_time() - started < 1.5


def test_stages_of_a_preference_are_those_of_its_chosen_answer() -> None:
    row = row_of(["How so?", "Where does it hurt?"])
    del row["completion"]
    assert stages_of({**row, "chosen": "Where does it hurt?", "rejected": "No."}) == {
        "question",
        "counter_question",
    }
    assert stages_of({**row, "chosen": "No.", "rejected": "Where does it hurt?"}) == {"question"}


def test_turns_are_the_users() -> None:
    assert turns_of(row_of(["a", "b", "c", "d"])) == 2
