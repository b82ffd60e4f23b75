"""An import as a whole: batches, a second run, times, the store's own refusals, memory."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feedback_store import Store
from rlhf.exchange import importing
from rlhf.exchange.entry import Origin, moment, person
from rlhf.exchange.importing import Import, Refusal, Summary

TRL = Origin(format="trl", voter="lab")


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def vote(n: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"q {n}", "completion": f"a {n}", "label": True, **more}


def run(store: Store, path: Path, origin: Origin = TRL) -> tuple[Summary, list[Refusal]]:
    refused: list[Refusal] = []
    return Import(store, path, origin, tell=refused.append).run(), refused


def test_what_was_committed_before_a_crash_is_passed_over(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 10)
    path = write(tmp_path / "v.jsonl", [vote(n) for n in range(40)])
    append, calls = store.append, []

    def dies(**rows: Any) -> int:
        calls.append(rows)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return append(**rows)

    monkeypatch.setattr(store, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        run(store, path)
    assert len(list(store.interactions())) == 15  # three batches of five rows, two records each
    monkeypatch.setattr(store, "append", append)
    summary, _ = run(store, path)
    assert (summary.already_in, summary.imported, store.watermark()) == (15, 25, 80)


def test_the_same_row_twice_in_a_file_counts_once(store: Store, tmp_path: Path) -> None:
    summary, refused = run(store, write(tmp_path / "v.jsonl", [vote(1), vote(2), vote(1)]))
    assert (summary.imported, summary.already_in, refused) == (2, 1, [])


def test_what_the_store_refuses_is_refused_alone(store: Store, tmp_path: Path) -> None:
    score = {"id": "s", "name": "user-feedback", "source": "API", "value": 1, "dataType": "NUMERIC"}
    trace = {"input": "q", "output": "r"}
    rows: list[Any] = [{**trace, "id": f"t{n}"} for n in range(20)]
    rows[7:7] = [{**score, "traceId": "elsewhere"}]
    summary, refused = run(store, write(tmp_path / "l.jsonl", rows), Origin(format="langfuse"))
    assert (summary.imported, summary.refused) == (20, 1)
    assert refused == [
        Refusal(
            f"{tmp_path}/l.jsonl:8",
            8,
            "speaks of an answer that isn't in the store; import it first",
        )
    ]


def test_what_is_in_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    origin = Origin(format="langfuse")
    run(store, write(tmp_path / "l.jsonl", [{"id": "t", "input": "q", "output": "r"}]), origin)
    changed = write(tmp_path / "l.jsonl", [{"id": "t", "input": "q", "output": "another"}])
    summary, _ = run(store, changed, origin)
    assert (summary.already_in, next(store.interactions()).response) == (1, "r")


def test_personal_data_is_redacted_on_the_way(store: Store, tmp_path: Path) -> None:
    row = {"prompt": "call 13812345678", "completion": "I will"}
    run(store, write(tmp_path / "v.jsonl", [row]))
    assert next(store.interactions()).messages[0].content == "call <PHONE>"


def test_times_are_kept_and_never_lie_ahead(store: Store, tmp_path: Path) -> None:
    from rlhf.exchange.mapping import Fields, Mapping

    fields = Fields(prompt="q", response="a", thumb="v", time="t")
    origin = Origin(format="mapping", mapping=Mapping(fields=fields))
    soon = datetime.now(UTC) + timedelta(minutes=2)
    late = datetime.now(UTC) + timedelta(minutes=20)
    times = ["2024-05-01", "2024-05-01T10:00:00+08:00", soon.isoformat(), late.isoformat(), "noon"]
    rows = [{"q": f"q{n}", "a": "a", "v": 1, "t": time} for n, time in enumerate(times)]
    _, refused = run(store, write(tmp_path / "m.jsonl", rows), origin)
    kept = [word.created_at for word in store.feedback()]
    assert kept[:2] == [datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, 2, tzinfo=UTC)]
    assert len(kept) == 3
    assert [(r.line, r.reason.split(",")[-1]) for r in refused] == [
        (4, " lies in the future"),
        (5, "a time must be ISO 8601 or seconds since 1970"),
    ]


def test_moments_and_people() -> None:
    assert moment(1_700_000_000) == moment(1_700_000_000_000) == moment("1700000000")
    assert moment("") is None is person(None)
    assert person(7) == "7" and person("a-b") == "a-b"
    assert person("张三") == person("张三") != person("李四")


def test_a_rejected_file_is_of_the_last_import(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "v.jsonl", [vote(1, label="x")])
    aside = tmp_path / "v.jsonl.rejected.jsonl"
    summary, _ = run(store, path)
    (kept,) = map(json.loads, aside.read_text().splitlines())
    assert kept["row"] == vote(1, label="x") and summary.rejected_file == str(aside)
    path.write_bytes(b'{"prompt": "\xff\n')
    run(store, path)
    assert json.loads(aside.read_text()) == {
        "line": 1,
        "reason": "is not UTF-8 (byte 13 of the row)",
        "text": '{"prompt": "\ufffd',
    }
    write(path, [vote(1)])
    assert run(store, path)[0].rejected_file is None and not aside.exists()


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_memory_does_not_grow_with_the_file(
    suffix: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 50)

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.{suffix}"
        lines = (json.dumps(vote(n, more="x" * 2_000)) for n in range(count))
        path.write_text("\n".join(lines) if suffix == "jsonl" else f"[{','.join(lines)}]")
        tracemalloc.start()
        summary, _ = run(store, path, Origin(format="trl", project=f"p{count}"))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert summary.imported == count
        return most

    peak(50)  # what is loaded once
    assert peak(600) < 1.3 * peak(150)
