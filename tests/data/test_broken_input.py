"""Broken input: one clear line each, the good rows kept, nothing half-written."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Call = Callable[..., tuple[int, str, str]]

GOOD = [
    {"context": f"用户:第{n}种茶怎么泡才好喝？", "response": f"模型:用{n}克茶叶，水温八十度。"}
    for n in range(1, 21)
]
LINES = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in GOOD)
OTHERS = LINES.replace("茶".encode(), "咖啡".encode())


def dialogue(**changes: object) -> bytes:
    return json.dumps({**GOOD[0], **changes}, ensure_ascii=False).encode()


def parquet(rows: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(GOOD * rows), out)
    return out.getvalue()


DEEP = b'{"context": ' + b"[" * 5_000 + b"]" * 5_000 + b', "response": "a"}'
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

# A row among good ones: what it is, and what its reason says.
ROWS: dict[str, tuple[bytes, str]] = {
    "latin-1": ('{"context": "café", "response": "a"}'.encode("latin-1"), "is not UTF-8"),
    "gb18030": (dialogue().decode().encode("gb18030"), "is not UTF-8"),
    "cut": (dialogue()[:-1], "is not valid JSON"),
    "two in a line": (dialogue() + b" " + dialogue(), "is not valid JSON"),
    "huge line": (dialogue(response="长" * 400_000), "is longer than"),
    "null prompt": (dialogue(context=None), "`context` must be text or a list"),
    "nested nulls": (dialogue(context=[{"role": None, "content": None}]), "without a known role"),
    "null row": (b"null", "must be a JSON object"),
    "number row": (b"12", "must be a JSON object"),
    "list row": (b'["a", "b"]', "must be a JSON object"),
    "number prompt": (dialogue(context=5), "`context` must be text or a list"),
    "object answer": (dialogue(response={"text": "a"}), "`response` must be text or a list"),
    "number intent": (dialogue(intent=5), "`intent` must be text"),
    "object user": (dialogue(user={"id": 5}), "`user` must be text"),
    "lone surrogate": (b'{"context": "\\ud800", "response": "a"}', "half of a surrogate pair"),
    "duplicate key": (b'{"context": "a", "context": "b", "response": "c"}', "twice"),
    "NaN": (dialogue()[:-1] + b', "weight": NaN}', "NaN, which is not a JSON number"),
    "infinite weight": (dialogue()[:-1] + b', "weight": 1e999}', "too large"),
    "long number": (dialogue()[:-1] + b', "n": ' + b"9" * 5_000 + b"}", "5000 digits"),
    "negative weight": (dialogue(weight=-1), "`weight` must be a number from 0"),
    "deep nesting": (DEEP, "nested more than"),
    "NUL bytes": (b"\x00\x00\x00", "is not valid JSON"),
    "empty answer": (dialogue(response="模型:  "), "`response` is empty"),
    "nothing but markup": (dialogue(response="<p><br></p>"), "empty after cleaning"),
    "no answer": (b'{"context": "a"}', "needs `context` and `response`"),
    "other columns": (b'{"q": "a", "a": "b"}', "found a, q"),
    "half a preference": (b'{"prompt": "a", "chosen": "b"}', "needs both"),
    "no difference": (b'{"prompt": "a", "chosen": "b", "rejected": "b"}', "same text"),
    "text label": (b'{"prompt": "a", "completion": "b", "label": "yes"}', "true or false"),
    "ends with the user": (b'{"messages": [{"role": "user", "content": "a"}]}', "assistant's turn"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_broken_row_is_told_by_file_and_line_and_the_others_stay(
    rlhf: Call, here: Path, kind: str
) -> None:
    row, reason = ROWS[kind]
    (here / "d.jsonl").write_bytes(LINES + row + b"\n" + OTHERS)
    code, out, err = rlhf("data", "prepare", "d.jsonl", "--out", "out", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert (rows["read"], rows["rejected"]) == (41, 1)
    assert rows["train"] + rows["held_out"] + rows["twins"] == 40
    (rejected,) = map(json.loads, (here / "out/rejected.jsonl").read_text().splitlines())
    assert (rejected["file"], rejected["line"]) == ("d.jsonl", 21)
    assert reason in rejected["reason"]
    assert len(rejected["reason"]) <= 300 and "\n" not in rejected["reason"]


# A whole file: its name, what it holds, and what the one line says.
FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("d.jsonl", b"", "is empty"),
    "only line breaks": ("d.jsonl", b"\n\n\n", "nothing can be trained on"),
    "UTF-16": ("d.jsonl", LINES.decode().encode("utf-16"), "is UTF-16, not UTF-8"),
    "UTF-16 without a mark": ("d.jsonl", LINES.decode().encode("utf-16-le"), "without a mark"),
    "UTF-32": ("d.jsonl", LINES.decode().encode("utf-32"), "is UTF-32"),
    "gzip": ("d.jsonl", gzip.compress(LINES), "is gzip"),
    "empty array": ("d.json", b"[]", "nothing can be trained on"),
    "all rows broken": ("d.jsonl", b"{]\n" * 5, "d.jsonl:1: is not valid JSON"),
    "cut array": ("d.json", b"[" + dialogue()[:20], "the file ends within a row"),
    "cut Parquet": ("d.parquet", parquet(1)[:-40], "not a whole Parquet file"),
    "damaged Parquet": ("d.parquet", b"PAR1" + b"\x00" * 60 + b"PAR1", "not a whole Parquet file"),
    "text as Parquet": ("d.parquet", LINES, "not a whole Parquet file"),
    "Parquet as lines": ("d.jsonl", parquet(1), "is Parquet"),
    "CSV of other columns": ("d.csv", b"a,b\n1,2\n", "needs `context` and `response`"),
    "CSV with one column twice": ("d.csv", b"context,context\n1,2\n", "two columns have one name"),
    "CSV not in UTF-8": ("d.csv", b"context,response\ncaf\xe9,a\n", "is not UTF-8"),
    "CSV with NUL": ("d.csv", b"context,response\na\x00b,\x00\n", "nothing can be trained on"),
    "CSV with an open quote": ("d.csv", b'context,response\n"a,b\n', "is not valid CSV"),
    "unknown kind": ("d.xlsx", b"PK\x03\x04", "is zip"),
    "YAML bomb": ("d.yaml", BOMB.encode(), "d.yaml: "),
    "YAML that isn't": ("d.yaml", b"sources: [a\n", "is not valid YAML"),
    "YAML with a tag": ("d.yaml", b"sources: !!python/object:os.system {}\n", "is not valid YAML"),
    "YAML of another key": ("d.yaml", b"source: d.jsonl\n", "did you mean `sources`?"),
    "YAML of a wrong type": ("d.yaml", b"sources: d.jsonl\nheld_out: many\n", "`held_out`"),
    "YAML of a bad rule": (
        "d.yaml",
        b"sources: d.jsonl\nclean: {rules: [{pattern: '('}]}\n",
        "is no regular expression",
    ),
    "YAML of a missing file": ("d.yaml", b"sources: away.jsonl\n", "no such file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_broken_file_is_one_line_and_leaves_nothing(rlhf: Call, here: Path, kind: str) -> None:
    name, data, reason = FILES[kind]
    (here / name).write_bytes(data)
    code, out, err = rlhf("data", "prepare", name, "--out", "out")
    told = [line for line in err.splitlines() if line.startswith("rlhf: ")]
    assert code in (1, 2) and out == ""
    assert len(told) == 1 and reason in told[0] and len(told[0]) < 700, err
    assert "Traceback" not in err
    assert sorted(path.name for path in here.iterdir()) == [name]


def test_a_mark_in_front_of_a_file_is_passed_over(rlhf: Call, here: Path) -> None:
    (here / "d.jsonl").write_bytes(b"\xef\xbb\xbf" + LINES)
    assert rlhf("data", "prepare", "d.jsonl", "--out", "out")[0] == 0
    assert (here / "out/rejected.jsonl").read_text() == ""


def test_a_folder_that_holds_something_else_is_never_replaced(rlhf: Call, here: Path) -> None:
    (here / "d.jsonl").write_bytes(LINES)
    (here / "out").mkdir()
    (here / "out/mine.txt").write_text("precious")
    code, _, err = rlhf("data", "prepare", "d.jsonl", "--out", "out")
    assert code == 2 and "holds something else" in err
    assert (here / "out/mine.txt").read_text() == "precious"


def test_too_many_rejected_rows_fail_the_command_and_are_there_to_read(
    rlhf: Call, here: Path
) -> None:
    (here / "d.jsonl").write_bytes(LINES + b"{]\n" * 5)
    code, _, err = rlhf("data", "prepare", "d.jsonl", "--out", "out")
    assert code == 1 and "5 of 25 rows are rejected" in err
    assert len((here / "out/rejected.jsonl").read_text().splitlines()) == 5
    assert rlhf("data", "prepare", "d.jsonl", "max_rejected=0.2", "--out", "out")[0] == 0


def test_a_rejected_row_is_kept_without_what_identifies_people(rlhf: Call, here: Path) -> None:
    escaped = json.dumps({"context": "我叫张伟民，电话是13812345678"})
    (here / "d.jsonl").write_bytes(LINES + escaped.encode() + b"\n{13912345678\n")
    assert rlhf("data", "prepare", "d.jsonl", "max_rejected=1", "--out", "out")[0] == 0
    kept = (here / "out/rejected.jsonl").read_text()
    assert "138123" not in kept and "139123" not in kept and kept.count("<PHONE>") == 2
