"""What grows with the store stays on the disk, and every reader goes along an index."""

import json
import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from varied_votes import fill

from feedback_store import (
    Feedback,
    Interaction,
    Message,
    SnapshotRules,
    Store,
    build_snapshot,
)
from feedback_store.snapshots import spool


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as store:
        fill(store, seed=1)
        yield store


@pytest.mark.slow
def test_a_snapshot_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "BUFFER", 2**20)
    count, length = 3_000, 20_000
    with Store.open(tmp_path / "store.db", redact=str) as store:
        for start in range(0, count, 500):
            numbers = range(start, start + 500)
            store.append(
                interactions=[
                    Interaction(
                        id=f"i{n}",
                        messages=(Message(role="user", content=f"question {n}"),),
                        response=f"answer {n} {'x' * length}",
                    )
                    for n in numbers
                ],
                feedback=[
                    Feedback(interaction=f"i{n}", voter="ann", kind="thumb", value=1.0)
                    for n in numbers
                ],
            )
        tracemalloc.start()
        try:
            manifest = build_snapshot(store, tmp_path, SnapshotRules(held_out=0.0))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert manifest.files["sft.jsonl"].rows == manifest.files["kto.jsonl"].rows == count
    # One page of the store is 20 MB; all answers are 60, all rows 120.
    assert peak < 45e6


def test_readers_go_along_an_index(filled: Store, tmp_path: Path) -> None:
    asked: list[tuple[str, object]] = []

    def note(connection, cursor, statement, parameters, context, executemany) -> None:
        asked.append((statement, parameters))

    event.listen(filled._database._reader, "before_cursor_execute", note)
    mark = filled.watermark()
    for project in ("default", None):
        for read in (filled.interactions, filled.feedback, filled.comparisons):
            assert list(read(project=project))
        filled.votes_since(mark - 10, project=project)
    answers = {row.id: row.seq for row in filled.answer_rows("default", mark)}
    assert list(filled.feedback_rows(answers, mark))
    assert list(filled.comparison_rows("default", answers, mark))
    connection = sqlite3.connect(tmp_path / "store.db")
    for statement, parameters in asked:
        if not statement.startswith("SELECT"):  # BEGIN
            continue
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        steps = [step for *_, step in plan]
        assert not any("TEMP B-TREE" in step or "AUTOMATIC" in step for step in steps), statement
        along = steps[0].removeprefix("SEARCH ")
        if "seq" in statement:
            assert along.startswith(("interactions", "feedback", "comparisons")), (statement, steps)
            assert "rowid>" in along or "seq>" in along, (statement, steps)
    connection.close()


def test_a_row_stands_until_its_next_revision(store: Store, ask, thumb, compare) -> None:
    store.append(interactions=[ask("x", project="other"), ask("a"), ask("b")])
    store.append(feedback=[thumb("x"), thumb("b")])
    answers = {row.id: row.seq for row in store.answer_rows("default", store.watermark())}
    assert list(answers) == ["a", "b"]
    standing = {}
    for value in (1.0, -1.0, 1.0, -1.0):
        store.append(feedback=[thumb("a", value, id=f"thumb-{len(standing)}")],
                     comparisons=[compare("a", "b", "a" if value > 0 else "b",
                                          id=f"choice-{len(standing)}")])  # fmt: skip
        standing[store.watermark()] = len(standing)
    for mark, number in standing.items():
        words = list(store.feedback_rows(answers, mark))
        assert [word.id for word in words] == [thumb("b").id, f"thumb-{number}"]
        (choice,) = store.comparison_rows("default", answers, mark)
        assert choice.id == f"choice-{number}" and (choice.a, choice.b) == (2, 3)
    store.withdraw("a", "ann", "thumb")
    store.withdraw_comparison("a", "b", "ann")
    assert len(list(store.feedback_rows(answers, store.watermark()))) == 1
    assert not list(store.comparison_rows("default", answers, store.watermark()))


def test_rows_are_those_of_the_records(filled: Store) -> None:
    mark = filled.watermark()
    for upto in (mark, mark // 2):
        answers = {row.id: row for row in filled.interactions(project="default", upto=upto)}
        found = list(filled.answer_rows("default", upto))
        assert [
            (row.seq, json.loads(row.messages), row.response, row.style, row.created_at)
            for row in found
        ] == [
            (a.seq, [m.model_dump() for m in a.messages], a.response, a.style, a.created_at)
            for a in answers.values()
        ]
        seqs = {row.id: row.seq for row in found}
        words = filled.feedback(project="default", upto=upto)
        assert [(w.answer, w.id, w.value, w.created_at) for w in
                filled.feedback_rows(seqs, upto)] == [
            (answers[w.interaction].seq, w.id, w.value, w.created_at) for w in words
        ]  # fmt: skip
        choices = filled.comparisons(project="default", upto=upto)
        rows = filled.comparison_rows("default", seqs, upto)
        assert [(c.a, c.b, c.id, c.choice) for c in rows] == [
            (answers[c.a].seq, answers[c.b].seq, c.id, c.choice) for c in choices
        ]
