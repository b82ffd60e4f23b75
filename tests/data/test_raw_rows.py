"""Rows out of hostile files: against `json`, over block borders, in every wrong encoding."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.data import scanner
from rlhf.data.raw_rows import open_rows
from rlhf.data.scanner import Raw
from rlhf.data.strict_json import MAX_DEPTH, loads
from rlhf.errors import DataError


def read(path: Path, data: bytes, limit: int = 1 << 20) -> list[Raw]:
    path.write_bytes(data)
    with path.open("rb") as file:
        return list(open_rows(file, path, limit).rows)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text('ab"\\[]{},\n:é字😀'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"]}'), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text("abc", min_size=1), VALUES, max_size=3), max_size=6)


@settings(max_examples=150)
@given(OBJECTS, st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40))
def test_arrays_and_values_are_split_as_json_reads_them(
    tmp_path_factory: Any, values: list[Any], indent: int | None, ascii: bool, block: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.json"
    text = json.dumps(values, indent=indent, ensure_ascii=ascii)
    before = scanner.BLOCK
    scanner.BLOCK = block  # every border a token can have
    try:
        path.write_text(text)
        with path.open("rb") as file:
            found = list(scanner.array_rows(file, 1 << 20))
        # The line that each element begins on, by looking for it.
        assert [json.loads(raw.data) for raw in found] == values
        at = 1
        for raw in found:
            at = text.index("{", at)
            assert raw.line == text.count("\n", 0, at) + 1
            _, at = json.JSONDecoder().raw_decode(text, at)

        page = json.dumps({"a": {"b": values}, "c": [values, "]}"]}, indent=indent)
        path.write_text(f"{page}\n{page} {json.dumps({'a': 1})}")
        with path.open("rb") as file:
            found = list(scanner.page_rows(file, 1 << 20, ("a", "b")))
        assert [json.loads(raw.data) for raw in found] == [*values, *values, {"a": 1}]
        assert [raw.inner for raw in found] == [True] * len(values) * 2 + [False]

        path.write_text("\n".join(json.dumps(v, indent=indent) for v in values))
        with path.open("rb") as file:
            assert [json.loads(raw.data) for raw in scanner.value_rows(file, 1 << 20)] == values
    finally:
        scanner.BLOCK = before


def test_lines_with_a_mark_crlf_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    data = b'\xef\xbb\xbf{"a": 1}\r\n\r\n  {"b": 2}\n{"c": 3}'
    assert [(r.line, json.loads(r.data)) for r in read(path, data)] == [
        (1, {"a": 1}),
        (3, {"b": 2}),
        (4, {"c": 3}),
    ]
    with path.open("rb") as file:
        assert open_rows(file, path).marked


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_long_row_is_passed_over_and_the_others_read(name: str, tmp_path: Path) -> None:
    long = json.dumps({"a": "x" * 200_000})
    rows = ['{"a": 1}', long, '{"a": 2}']
    text = "\n".join(rows) if name.endswith("l") else "[" + ",\n".join(rows) + "]"
    first, second, third = read(tmp_path / name, text.encode(), limit=1_000)
    assert (first.data, third.data) == (b'{"a": 1}', b'{"a": 2}')
    assert second == Raw(2, b"", "is longer than 1000 bytes (max-row-bytes)")
    assert third.line == 3


def test_a_row_of_just_the_limit_is_read(tmp_path: Path) -> None:
    row = b'{"a": 1}'
    for data in (row + b"\n", row, b"[" + row + b"]"):
        assert read(tmp_path / "a.json", data, limit=len(row))[0].data == row
        assert read(tmp_path / "a.json", data, limit=len(row) - 1)[0].problem


def test_a_broken_element_spoils_no_other(tmp_path: Path) -> None:
    text = '[{"a": 1},\n{"b": ]},\n{"c": 3}},\n{"d": tru},\n,\n{"e": "x},\n{"f": 6}]\n?'
    found = []
    for raw in read(tmp_path / "a.json", text.encode()):
        try:
            found.append((raw.line, raw.problem or loads(raw.data)))
        except DataError:
            found.append((raw.line, "bad"))
    assert found == [
        (1, {"a": 1}),
        (2, "bad"),
        (3, "bad"),
        (4, "bad"),
        (5, "has a comma without a row"),
        (6, "is not valid JSON (a text isn't closed on its line)"),
        (7, {"f": 6}),
        (7, "stands after the array's end and is not read"),
    ]


@pytest.mark.parametrize("text", ['[{"a": 1},{"b":', '{\n"a": 1\n}\n{"b":\n'])
def test_a_cut_off_file_is_told(text: str, tmp_path: Path) -> None:
    first, last = read(tmp_path / "a.json", text.encode())
    assert json.loads(first.data) == {"a": 1}
    assert last.problem == "the file ends within a row"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('{"a": 1}'.encode("utf-16"), "is UTF-16, not UTF-8 text; save it as UTF-8 (iconv"),
        ('{"a": 1}'.encode("utf-16-be"), "is UTF-16 without a mark"),
        ('{"a": 1}'.encode("utf-16-le"), "is UTF-16 without a mark"),
        ('{"a": 1}'.encode("utf-32"), "is UTF-32"),
        (gzip.compress(b"{}", mtime=0), "is gzip, not UTF-8 text; unpack it first"),
        (b"PAR1....", "is Parquet"),
    ],
)
def test_other_encodings_and_kinds_are_named(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.json", data)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": NaN}', "NaN, which is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": 0.' + b"1" * 5_000 + b"}", "too large or too long"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "a number of 5000 digits"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' twice"),
        (b'{"a": ' + b"[" * 100_000, f"nested more than {MAX_DEPTH} deep"),
        (b'{"a": ' + b'{"a":' * 500 + b"1" + b"}" * 501, "nested more than"),
        (b'{"a": "\\ud83d"}', "half of a surrogate pair"),
        (b'{"a": "\xff"}', "is not UTF-8 (byte 8 of the row)"),
        (b'{"a": "caf\xe9"}', "is not UTF-8"),
        (b"{'a': 1}", "is not valid JSON"),
        (b'{"a": 1} {"b": 2}', "is not valid JSON (Extra data"),
    ],
)
def test_what_readers_disagree_on_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DataError) as error:
        loads(data)
    assert words in str(error.value)


def test_depth_counts_brackets_outside_of_strings_alone() -> None:
    assert loads(json.dumps({"a": "[{" * 500}).encode()) == {"a": "[{" * 500}
    assert loads(b'{"a": "\\ud83d\\ude00"}') == {"a": "😀"}
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert loads(deep)


def test_a_page_of_any_size_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    path.write_text(json.dumps({"data": [{"n": n} for n in range(500)], "meta": {"page": 1}}))
    with path.open("rb") as file:
        rows = list(open_rows(file, path, 20, ("data",)).rows)
    assert [json.loads(row.data)["n"] for row in rows] == list(range(500))
    path.write_text('{"data": [{"n": 1}, {"n":')
    with path.open("rb") as file:
        rows = list(open_rows(file, path, 100, ("data",)).rows)
    assert [row.problem for row in rows] == ["", "the file ends within a row"]
    path.write_text('{"meta": {}, "data": [{"n": 1}]}')  # not first: one row, to be split later
    with path.open("rb") as file:
        (row,) = open_rows(file, path, 100, ("data",)).rows
    assert not row.inner


def test_a_table_needs_one_name_a_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns have one name"):
        read(tmp_path / "a.csv", b"a,a\n1,2\n")
    (row,) = read(tmp_path / "a.tsv", b"a\tb\n1\t2\n")
    assert json.loads(row.data) == {"a": "1", "b": "2"} and row.line == 2
