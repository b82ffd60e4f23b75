"""Needles in files of many forms, few of them and thousands."""

from __future__ import annotations

import gzip
import json
from html import escape
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_store import Traces
from rlhf.copies import Needles, default_places, find_copies, remove
from rlhf.files import script_json

TEXT = 'my "secret" <is> called\nPat & 秘密的事情'


def traces(*texts: str, ids: tuple[str, ...] = ()) -> Traces:
    return Traces(ids=frozenset(ids), texts=frozenset(texts))


# Under 64 needles each is searched alone, above they are searched by a table.
FILLERS = [(), tuple(f"filler number {n} that stands nowhere" for n in range(300))]


@pytest.mark.parametrize("fillers", FILLERS, ids=["few", "many"])
def test_a_text_is_found_as_files_spell_it(fillers: tuple[str, ...]) -> None:
    needles = Needles(traces(TEXT, *fillers))
    spelled = [TEXT, json.dumps(TEXT), json.dumps(TEXT, ensure_ascii=False), escape(TEXT)]
    spelled.append(script_json(TEXT))
    for form in (s.replace("&#x27;", "&#39;").replace("&quot;", "&#34;") for s in spelled):
        for before in range(9):
            assert needles.inside(("x" * before + form + " and more").encode()), form
    assert not needles.inside(TEXT[:-3].encode() + b"?" * 40)
    assert not needles.inside(b"") and not needles.inside(b"short")


@pytest.mark.parametrize("fillers", FILLERS, ids=["few", "many"])
def test_an_id_is_not_the_beginning_of_a_longer_one(fillers: tuple[str, ...]) -> None:
    needles = Needles(traces(*fillers, ids=("0123456789ab-1",)))
    assert needles.inside(b'["0123456789ab-1"]') and needles.inside(b"0123456789ab-1")
    assert not needles.inside(b'["0123456789ab-10"]')
    assert needles.inside(b'["0123456789ab-10", "0123456789ab-1"]')


def test_a_short_id_is_found_by_its_key_alone() -> None:
    needles = Needles(traces(ids=("user",)))
    assert needles.inside(b'{"voter": "user"}') and needles.inside(b'{"voter":"user"}')
    assert not needles.inside(b'{"role": "user", "content": "user"}')


@settings(max_examples=60)
@given(
    st.lists(st.binary(min_size=12, max_size=40).map(bytes.hex), min_size=65, max_size=90),
    st.binary(max_size=300).map(bytes.hex),
    st.integers(0, 5),
)
def test_the_table_finds_what_a_search_finds(texts: list[str], data: str, planted: int) -> None:
    data = data[: len(data) // 2] + "".join(texts[:planted]) + data[len(data) // 2 :]
    assert Needles(traces(*texts)).inside(data.encode()) == any(t[:200] in data for t in texts)


def test_files_are_decoded_and_others_left(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"n": [1, 2], "text": ["nothing", f"before {TEXT} after"]})
    parquet.write_table(table, tmp_path / "rows.parquet", compression="zstd")
    for name, make in (("stream.arrow", pa.ipc.new_stream), ("file.arrow", pa.ipc.new_file)):
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with make(str(tmp_path / name), table.schema, options=options) as writer:
            writer.write_table(table)
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"text": TEXT}))
    (tmp_path / "false.parquet").write_text(TEXT)
    (tmp_path / "cut.gz").write_bytes(TEXT.encode())
    (tmp_path / "weights.safetensors").write_text(TEXT)
    (tmp_path / "others.jsonl").write_text("nobody's words")
    (tmp_path / "kept.jsonl").write_text(TEXT)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "kept.jsonl")
    found, databases = find_copies(
        [tmp_path], Needles(traces(TEXT)), skip=[tmp_path / "kept.jsonl"]
    )
    names = {
        "rows.parquet",
        "stream.arrow",
        "file.arrow",
        "rows.jsonl.gz",
        "false.parquet",
        "cut.gz",
    }
    assert {path.name for path in found} == names and databases == []


def test_a_text_across_two_blocks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlhf.copies._BLOCK", 64)
    for at in range(40, 70):
        (tmp_path / "rows.txt").write_text("." * at + TEXT + "." * 90)
        assert find_copies([tmp_path], Needles(traces(TEXT)))[0] == [tmp_path / "rows.txt"], at


def test_a_cached_data_set_and_a_copied_snapshot_go_whole(tmp_path: Path) -> None:
    for folder, names in (
        ("cached", ("dataset_info.json", "part-0.arrow")),
        ("copied", ("manifest.json", "prompts.jsonl", "kto.jsonl")),
    ):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(TEXT if name == names[-1] else "{}")
    found, _ = find_copies([tmp_path], Needles(traces(TEXT)))
    assert found == [tmp_path / "cached", tmp_path / "copied"]
    for path in [*found, *found]:  # a second time is no error
        if path.exists():
            remove(path)
    remove(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_the_libraries_caches_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {}
    for name in ("HF_DATASETS_CACHE", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        places[name] = tmp_path / name
        places[name].mkdir()
        monkeypatch.setenv(name, str(places[name]))
    assert default_places(tmp_path) == [tmp_path, *places.values()]
