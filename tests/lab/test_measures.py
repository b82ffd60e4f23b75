"""Totals of scores that are kept are those that training would compute anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewards import Component, RewardSet
from rewards.combine import Normalise
from rlhf.errors import StepFailed
from rlhf.lab.measures import Combining, Measured, Parts, measure_answers, parts_of
from rlhf.sampling import Completion, Prompt
from rlhf.training.online.rollouts import Question, score

TEXTS = [
    ["Please confirm your order number.", "ok lol", "I will guarantee a cure, no doctor needed."],
    [
        "请您提供订单号,我们会及时核实。",
        "多喝水。多喝水。多喝水。",
        "Take 500 mg of it. It cures cancer.",
    ],
]
STYLE = {"name": "style", "params": {"target": "formal"}}
LENGTH = {"name": "length", "params": {"low": 4, "high": 9}}
MIXES: dict[str, list[dict[str, Any]]] = {
    "both": [{**STYLE, "weight": 0.7}, {**LENGTH, "weight": -2.0}],
    "guarded": [{**STYLE, "weight": 3.0}, {"name": "compliance"}],
    "short": [{"name": "length", "label": "short", "params": {"low": 1, "high": 3}}],
    "broken": [LENGTH, {"name": "broken.py:some", "weight": 0.5}],
}


@pytest.fixture
def measured(tmp_path: Path) -> tuple[Parts, Measured, list[Question], list[Completion]]:
    (tmp_path / "broken.py").write_text(
        "def some(prompts, completions):\n"
        "    return [None if i == 1 else float('nan') if i == 4 else i * 1.0\n"
        "            for i in range(len(completions))]\n"
    )
    mixes = {name: [Component(**c) for c in mix] for name, mix in MIXES.items()}
    parts = parts_of(mixes, tmp_path)
    columns = {"style": None, "intent": None, "reference": None}
    asked = [Question(Prompt(({"role": "user", "content": "?"},)), [], columns) for _ in TEXTS]
    answers = [[Completion(t, (1, 2), "stop") for t in row] for row in TEXTS]
    found = measure_answers(parts, asked, answers, tmp_path, 30.0)
    flat = [q for q in asked for _ in range(3)]
    return parts, found, flat, [a for row in answers for a in row]


def test_a_reward_of_several_mixes_is_scored_once(measured: Any) -> None:
    parts = measured[0]
    assert parts.labels == ("style", "length", "compliance", "short", "some")
    assert parts.weights["both"] == {"style": 0.7, "length": -2.0}
    assert measured[1].scores.veto.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("normalise", ["sum", "mean", "zscore"])
@pytest.mark.parametrize("name", MIXES)
def test_totals_are_those_of_training(
    measured: Any, tmp_path: Path, name: str, normalise: Normalise
) -> None:
    parts, found, asked, answers = measured
    how = Combining(normalise, veto_score=-3.0)
    ours = found.totals(parts.weights[name], how).ravel()
    mix = [Component(**c) for c in MIXES[name]]
    options: dict[str, Any] = {"normalise": normalise, "veto_score": -3.0, "max_invalid": 1.0}
    with RewardSet(mix, base=tmp_path, **options) as rewards:
        theirs = [row.total for row in score(rewards, asked, answers)]
    wanted = np.asarray([np.nan if t is None else t for t in theirs])
    np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_a_reward_that_always_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.py").write_text("def no(prompts, completions):\n    raise ValueError('x')\n")
    parts = parts_of({"m": [Component(name="no.py:no")]}, tmp_path)
    question = Question(
        Prompt(({"role": "user", "content": "?"},)),
        [],
        {"style": None, "intent": None, "reference": None},
    )
    with pytest.raises(StepFailed, match="reward no: failed on every answer: ValueError"):
        measure_answers(parts, [question], [[Completion("a", (1,), "stop")]], tmp_path, 30.0)
