import json
from pathlib import Path
from typing import Any

import pytest

from rlhf.data.records import Record, drop_prompts, parse_record, read_records, split, take
from rlhf.errors import DataError

SEED = {
    "context": "用户:我最近失眠怎么办?",
    "response": "模型:建议睡前远离电子设备。",
    "intent": "健康咨询",
    "style": "专业且关怀",
}
ASK = [{"role": "user", "content": "q"}]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


def test_the_seed_texts_shape() -> None:
    record = parse_record(SEED, "f:1")
    assert record.prompt == ({"role": "user", "content": "我最近失眠怎么办?"},)
    assert record.completion == "建议睡前远离电子设备。"
    assert (record.intent, record.style, record.shape) == ("健康咨询", "专业且关怀", "sft")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [*ASK, {"role": "assistant", "content": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"prompt": ASK, "completion": [{"role": "assistant", "content": "a"}]},
        {"context": "User: q", "response": "Assistant: a"},
    ],
)
def test_shapes_of_an_answered_prompt_mean_the_same(row: dict[str, Any]) -> None:
    record = parse_record(row, "f:1")
    assert (list(record.prompt), record.completion) == (ASK, "a")


def test_preferences_with_and_without_a_prompt() -> None:
    left = [*ASK, {"role": "assistant", "content": "good"}]
    right = [*ASK, {"role": "assistant", "content": "bad"}]
    for row in (
        {"prompt": ASK, "chosen": "good", "rejected": "bad"},
        {"chosen": left, "rejected": right},
    ):
        record = parse_record(row, "f:1")
        assert (list(record.prompt), record.chosen, record.rejected) == (ASK, "good", "bad")


def test_unpaired_votes() -> None:
    record = parse_record({"prompt": "q", "completion": "a", "label": False}, "f:1")
    assert (record.shape, record.label) == ("unpaired", False)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([1], "must be a JSON object"),
        ({}, "found nothing"),
        ({"context": "User: q"}, "needs `context` and `response`"),
        ({"context": "User: q", "response": " "}, "`response` is empty"),
        ({"context": "Assistant: q", "response": "a"}, "must end with the user's turn"),
        ({"prompt": "q", "chosen": "a"}, "both `chosen` and `rejected`"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "the same text"),
        ({"prompt": "q", "completion": "a", "label": 1}, "`label` must be true or false"),
        ({"prompt": 3, "completion": "a"}, "text or a list of messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "without a known role"),
        ({"prompt": "q", "completion": "a", "weight": "x"}, "`weight` must be a number"),
        ({"prompt": "q", "completion": "a", "style": 1}, "`style` must be text"),
    ],
)
def test_bad_rows_are_refused_by_name(row: Any, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        parse_record(row, "data.jsonl:7")
    assert str(caught.value).startswith("data.jsonl:7: ")


def test_a_broken_line_is_told_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(SEED) + "\n\n{broken\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"d\.jsonl:3: is not valid JSON"):
        read_records(path)
    path.write_bytes(json.dumps(SEED).encode() + b"\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"d\.jsonl:2: is not UTF-8"):
        read_records(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no rows to learn from"):
        read_records(path)


def test_rows_that_teach_nothing_are_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    rows = [good, {**good, "chosen": ""}, {**good, "rejected": "a"}]
    path = write(tmp_path / "d.jsonl", rows)
    assert len(read_records(path)) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "left out 2 rows" in told and "d.jsonl:2: `chosen` is empty" in told
    with pytest.raises(DataError, match=r"no rows to learn from; the first: .*:1: `chosen`"):
        read_records(write(tmp_path / "e.jsonl", rows[1:2]))


def test_a_json_array_is_read_like_lines(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps([SEED, SEED], ensure_ascii=False), encoding="utf-8")
    assert read_records(path) == [parse_record(SEED, "")] * 2
    assert len(read_records(path, limit=1)) == 1


BROKEN_VALUES = {
    "half a character": r'"\ud800"',
    "a 5,000-digit number": "9" * 5000,
    "a bottomless list": "[" * 100_000,
    "NaN": "NaN",
    "Infinity": "-Infinity",
}


@pytest.mark.parametrize("kind", list(BROKEN_VALUES))
@pytest.mark.parametrize("array", [False, True])
def test_values_that_fail_later_are_refused_with_their_line(
    kind: str, array: bool, tmp_path: Path
) -> None:
    good = json.dumps(SEED)
    bad = f'{{"context": "User: q", "response": "a", "more": {BROKEN_VALUES[kind]}}}'
    path = tmp_path / "d.jsonl"
    path.write_text(f"[\n{good},\n{bad}]" if array else f"\n{good}\n{bad}\n")
    with pytest.raises(DataError, match=r"d\.jsonl:3: "):
        read_records(path)


@pytest.mark.parametrize(
    ("text", "line"), [("[{}\n,]", 2), ("[\n{}\n{}]", 3), ("[]\n[]", 1), ("[\n", 2)]
)
def test_a_broken_array_is_told_by_line(text: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(text.replace("{}", json.dumps(SEED)))
    with pytest.raises(DataError, match=rf"d\.json:{line}: is not valid JSON"):
        read_records(path)


def test_a_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(r'{"prompt": "\ud83c\udf75", "completion": "a"}')
    assert read_records(path)[0].prompt[0]["content"] == "🍵"


def test_a_shared_system_prompt_does_not_make_one_conversation() -> None:
    system = {"role": "system", "content": "Be kind."}
    answer = {"role": "assistant", "content": "a"}
    rows = [[system, {"role": "user", "content": f"q {n}"}, answer] for n in range(100)]
    records = [parse_record({"messages": row}, "") for row in rows]
    assert len({r.conversation for r in records}) == 100
    train, held_out = split(records, 0.3)
    assert len(train) > 50 and len(held_out) > 10


def asked(records: list[Record]) -> set[str]:
    return {" ".join(r.prompt[0]["content"].lower().split()) for r in records}


def test_an_equal_prompt_is_never_on_both_sides() -> None:
    variants = ["Tell me {n}", "tell  me {n} ", "TELL ME {n}"]
    rows = [
        {"prompt": text.format(n=n), "completion": "a", "conversation": f"{n}/{k}"}
        for n in range(60)
        for k, text in enumerate(variants)
    ]
    records = [parse_record(row, "") for row in rows]
    train, held_out = split(records, 0.2)
    said = [
        {" ".join(r.prompt[0]["content"].lower().split()) for r in s} for s in (train, held_out)
    ]
    assert said[0] and said[1] and said[0].isdisjoint(said[1])
    assert len(train) + len(held_out) == len(records)
    assert split(records, 0.2, salt="other")[1] != held_out


def test_dropping_held_out_prompts() -> None:
    def ask(text: str) -> Record:
        return parse_record({"prompt": text, "completion": "a"}, "")

    records = [ask("Hello"), ask("hello "), ask("bye"), ask("bell \x07")]
    assert drop_prompts(records, [ask("HELLO")]) == records[2:]
    assert drop_prompts(records, []) == records


def test_the_split_keeps_a_conversation_together(tmp_path: Path) -> None:
    rows = []
    for n in range(200):
        first = f"User: question {n}"
        rows.append({"context": first, "response": "a"})
        rows.append({"context": f"{first}\nAssistant: a\nUser: more", "response": "b"})
    records = read_records(write(tmp_path / "d.jsonl", rows))
    train, held_out = split(records, 0.25)
    assert {r.conversation for r in train}.isdisjoint(r.conversation for r in held_out)
    assert 0.15 < len(held_out) / len(records) < 0.35
    assert split(records[::-1], 0.25)[1] == held_out[::-1]


def test_take_is_seeded_and_keeps_order() -> None:
    records = [parse_record({"prompt": str(n), "completion": "a"}, "") for n in range(50)]
    chosen = take(records, 10, seed=3)
    assert chosen == take(records, 10, seed=3) != take(records, 10, seed=4)
    assert [records.index(r) for r in chosen] == sorted(records.index(r) for r in chosen)
    assert take(records, None, 0) == records


def test_the_projects_own_examples_are_whole() -> None:
    root = Path(__file__).parent.parent / "configs" / "examples"
    english = read_records(root / "dialogues_en.jsonl")
    chinese = read_records(root / "dialogues_zh.jsonl")
    assert len(english) + len(chinese) >= 400
    held_out = split(english + chinese, 0.25)[1]
    assert len(held_out) >= 100
    assert {r.style for r in english} == {"formal", "concise", "caring"}


@pytest.mark.parametrize(("margin", "kept"), [(None, 0.0), (1.5, 1.5), ("much", None), (-1, None)])
def test_a_preference_may_hold_a_margin(tmp_path: Path, margin: Any, kept: float | None) -> None:
    row = {"prompt": "Hi", "chosen": "Hello.", "rejected": "No.", "margin": margin}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row))
    if kept is None:
        with pytest.raises(DataError, match="`margin` must be"):
            read_records(path)
    else:
        assert read_records(path)[0].margin == kept
