"""Stages and turns on every row; intents told only by a classifier that has shown it can."""

from __future__ import annotations

import random
from typing import Any

import pytest
from balanced_dialogues import balanced

from rlhf.data.labels import LabelSettings, fit_intents, is_good_enough, labelled, with_intents

TOPICS = {
    "退款": ["退款", "退货", "钱退回", "退钱"],
    "物流": ["快递", "包裹", "物流", "发货"],
    "账号": ["密码", "登录", "账号", "验证码"],
}
ASKED = LabelSettings(classify_intents=True)


def separable(rows: int) -> list[dict[str, Any]]:
    chance = random.Random(5)
    made = []
    for at in range(rows):
        intent = chance.choice(list(TOPICS))
        asked = f"我的{chance.choice(TOPICS[intent])}有问题，第{at}次来问了，怎么办？"
        made.append({"prompt": [{"role": "user", "content": asked}], "intent": intent})
    return made


def test_every_row_gets_its_stages_and_turns() -> None:
    row = balanced(1, 1)[0]
    assert labelled(row) == {**row, "stages": labelled(row)["stages"], "turns": 1}
    assert labelled(row)["stages"][0] == "question"


def test_intents_that_can_be_told_are_filled_in_and_marked() -> None:
    rows = separable(400)
    classifier = fit_intents(rows, ASKED)
    assert classifier is not None and is_good_enough(classifier, ASKED)
    assert classifier.low <= classifier.accuracy <= classifier.high and classifier.largest < 0.6
    given, *rest = separable(60)
    bare = [{"prompt": row["prompt"]} for row in rest]
    filled = with_intents([given, *bare], classifier, ASKED)
    assert filled[0] == given
    right = [
        row.get("intent") == true["intent"] for row, true in zip(filled[1:], rest, strict=True)
    ]
    assert sum(right) >= 0.9 * len(right)
    assert all(row["intent_by"] == "classifier" for row in filled[1:] if "intent" in row)


def test_what_it_is_unsure_of_stays_empty() -> None:
    classifier = fit_intents(separable(400), ASKED)
    assert classifier is not None
    odd = [{"prompt": [{"role": "user", "content": "zzzz"}]}]
    sure = LabelSettings(classify_intents=True, min_probability=1.0)
    assert with_intents(odd, classifier, sure) == odd


def test_intents_at_random_are_not_learned() -> None:
    """The generated prompts say nothing of their intents: the classifier must not be used."""
    classifier = fit_intents(balanced(2, 600), ASKED)
    assert classifier is not None
    assert classifier.low < 1 / 8 < classifier.high
    assert not is_good_enough(classifier, ASKED)


def test_it_is_used_only_if_asked_for() -> None:
    assert not is_good_enough(fit_intents(separable(400), LabelSettings()), LabelSettings())


@pytest.mark.parametrize("rows", [separable(20), [{**r, "intent": "one"} for r in separable(200)]])
def test_too_little_to_learn_from(rows: list[dict[str, Any]]) -> None:
    assert fit_intents(rows, ASKED) is None


def test_its_own_guesses_teach_it_nothing() -> None:
    rows = [{**row, "intent_by": "classifier"} for row in separable(200)]
    assert fit_intents(rows, ASKED) is None
