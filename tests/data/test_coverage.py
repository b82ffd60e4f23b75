"""What is planted is told, and nothing else; the same document whatever the order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from balanced_dialogues import INTENTS, balanced
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.config import validate
from rlhf.data.balance import CoverageThresholds
from rlhf.data.coverage import Coverage
from rlhf.data.row_facts import row_facts, traits
from rlhf.errors import UsageError

Row = dict[str, Any]
ROWS = 5_000
VARIED = "".join(chr(0x4E00 + at * 101 % 5_003) for at in range(7_000))


def counted(rows: Iterable[Row], sample: int = 100) -> Coverage:
    coverage = Coverage(sample=sample)
    coverage.add(list(rows))
    return coverage


def told(document: dict[str, Any]) -> dict[str, str]:
    return {warning["check"]: warning["line"] for warning in document["warnings"]}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return balanced(0, ROWS)


def test_a_balanced_set_is_not_warned_of(rows: list[Row]) -> None:
    document = counted(rows).document()
    assert document["warnings"] == []
    assert document["rows"] == ROWS and document["sampled"] == 100
    assert document["users"]["distinct"] == 60 and document["users"]["error"] == 0
    assert sum(entry["rows"] for entry in document["intents"]["table"]) == ROWS


@pytest.mark.slow
def test_at_most_one_false_alarm_in_a_hundred() -> None:
    sizes = [400, 800, 1_600]
    alarms = [
        told(counted(balanced(seed, sizes[seed % len(sizes)])).document()) for seed in range(200)
    ]
    assert sum(bool(alarm) for alarm in alarms) <= 2, alarms


def one_user(row: Row, at: int) -> Row:
    return {**row, "user": "loud"} if at % 10 < 3 else row


def rare_intent(row: Row, at: int) -> Row:
    if at % 100 == 0:
        return {**row, "intent": "发票"}
    return row


def no_summary(row: Row, at: int) -> Row:
    return {**row, "completion": row["completion"].partition("总结一下")[0] or row["completion"]}


def one_prompt(row: Row, at: int) -> Row:
    return {**row, "prompt": [{"role": "user", "content": "在吗？"}]} if at % 30 == 0 else row


def no_intent(row: Row, at: int) -> Row:
    return {**row, "intent": None} if at % 3 == 0 else row


def empty_cell(row: Row, at: int) -> Row:
    return {**row, "style": "formal"} if row["intent"] == "投诉" else row


def stray_english(row: Row, at: int) -> Row:
    return {**row, "language": "en"} if at % 100 == 0 else row


def short_answers(row: Row, at: int) -> Row:
    return {**row, "completion": "嗯。"} if at % 10 == 0 else row


def long_answers(row: Row, at: int) -> Row:
    return {**row, "completion": VARIED[at : at + 4_100]} if at % 10 == 0 else row


def promises(row: Row, at: int) -> Row:
    return {**row, "completion": row["completion"] + "这只股票稳赚不赔！"} if at % 50 == 0 else row


def half_synthetic(row: Row, at: int) -> Row:
    made = {"by": "template", "of": row["source"]}
    return {**row, "synthetic": made} if at % 2 else row


@pytest.mark.parametrize(
    ("plant", "check", "words"),
    [
        (one_user, "user", "loud wrote 30"),
        (rare_intent, "intent", "发票 (1.0%)"),
        (no_summary, "stage", "`summary` is missing"),
        (one_prompt, "prompt", "在吗？"),
        (no_intent, "intent", "33.4% of the rows lack a label `intent`"),
        (empty_cell, "style", "投诉 ("),
        (stray_english, "language", "`en` is 1.00%"),
        (short_answers, "length", "10.0% of the answers have fewer than 5"),
        (long_answers, "length", "10.0% of the answers have more than 4000"),
        (promises, "compliance", "finance.promise (balanced.jsonl:"),
        (half_synthetic, "synthetic", "50.0% of the rows are synthetic"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_is_told(
    rows: list[Row], plant: Callable[[Row, int], Row], check: str, words: str
) -> None:
    document = counted(plant(row, at) for at, row in enumerate(rows[:2_500])).document()
    assert list(told(document)) == [check]
    assert words in told(document)[check]


def test_what_others_counted_is_told_too(rows: list[Row]) -> None:
    limits = CoverageThresholds(intents=(*INTENTS, "发票"))
    document = counted(rows[:900], 900).document(
        limits,
        duplicates={"exact": 60, "near": 40},
        redaction={"PHONE": 3},
        rejected={"not JSON": 20},
        tokenizer=("letters", lambda texts: [len(text) for text in texts]),
    )
    warned = told(document)
    assert list(warned) == ["intent", "duplicates", "rejected"]
    assert warned["intent"] == "no row has the intent 发票; add dialogues of it"
    assert document["duplicates"]["share"] == pytest.approx(0.1)
    whole = sum(len(row["completion"]) for row in rows[:900])
    assert document["tokens"]["answer"]["total"] == whole  # all rows are in the sample
    assert document["redaction"] == {"PHONE": 3}


def test_users_are_not_told_by_their_numbers(rows: list[Row]) -> None:
    document = counted({**row, "user": "13800138000"} for row in rows[:20]).document()
    assert document["users"]["largest"][0]["user"] == "<PHONE>"
    assert "13800138000" not in str(document)


def test_turns_and_shapes_are_counted() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    document = counted(
        [
            {"prompt": said[:1], "completion": "b"},
            {"prompt": [*said, said[0]], "chosen": "b", "rejected": "c"},
            {"prompt": [*said * 12, said[0]], "completion": "b", "label": False},
        ]
    ).document()
    assert {turns: told["rows"] for turns, told in document["turns"].items()} == {
        "1": 1,
        "2": 1,
        "8+": 1,
    }
    assert set(document["shapes"]) == {"dialogue", "preference", "judged"}


def test_no_rows() -> None:
    assert [warning["check"] for warning in Coverage().document()["warnings"]] == ["rows"]


texts = st.sampled_from(["", "你好吗？", "Why?", "总结一下：好。", "a" * 200, "<b>", "\ud800"])
small_rows = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": texts.map(lambda text: [{"role": "user", "content": text}]),
            "completion": texts,
            "language": st.sampled_from(["zh", "en", "other"]),
            "source": st.sampled_from(["a:1", "a:2"]),
        },
        optional={"intent": texts, "style": texts, "user": texts},
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(rows=small_rows, cut=st.integers(0, 12), seed=st.integers(0))
def test_the_document_is_the_same_in_any_order_and_any_parts(
    rows: list[Row], cut: int, seed: int
) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    parts = counted(shuffled[:cut])
    parts.add(shuffled[cut:])
    assert counted(rows).document() == parts.document()


def test_large_counts_come_to_the_same_document(rows: list[Row]) -> None:
    """Beyond the caps: more intents and more rows than are kept."""
    many = [{**row, "intent": f"i{at}", "style": None} for at, row in enumerate(rows)]
    parts = counted(many[::2])
    parts.add(many[1::2][::-1])
    document = counted(many).document()
    assert document["intents"]["error"] > 0
    assert document == parts.document()


def test_traits_are_told_as_they_were_seen(rows: list[Row]) -> None:
    row = {**rows[0], "language": "mixed", "stages": ["summary"], "label": True, "style": "warm"}
    (facts,) = row_facts([row], seed=0)
    told = {("shape", "judged"), ("language", "mixed"), ("turns", "1"), ("stage", "summary")}
    named = {("label", name) for name in ("user", "intent", "style")}
    assert set(traits(int(facts["traits"]))) == told | named


def test_a_threshold_that_is_misspelt_is_told() -> None:
    with pytest.raises(UsageError, match="did you mean `user_max`"):
        validate(CoverageThresholds, {"user_maximum": 0.1}, "coverage")
