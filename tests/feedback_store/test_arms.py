"""Votes and ends of answers drawn by lot, in either database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from served import answered, thumb, votes
from sqlalchemy import event

from feedback_store import Store

AGO = datetime(1970, 1, 1, tzinfo=UTC)
BOTH = ("one", "two")


def said(store: Store, after: int = 0, first: int = 0) -> dict[tuple[str, str], tuple[int, int]]:
    upto = store.watermark()
    return store.votes_on_drawn(BOTH, "default", first=first, after=after, upto=upto)


def test_new_votes_change_what_is_said_by_just_so_much(store: Store) -> None:
    [row] = votes(store, "one", [True])
    voter = store.pseudonym(f"voter-of-{row.id}")
    assert said(store) == {("one", voter): (1, 0)}
    seen = store.watermark()
    store.append(feedback=[thumb(row, True)])
    store.append(feedback=[thumb(row, False)])
    assert said(store, seen) == {("one", voter): (-1, 1)}
    assert said(store) == {("one", voter): (0, 1)}
    seen = store.watermark()
    assert said(store, seen) == {}
    store.withdraw(row.id, voter, "thumb")
    assert said(store, seen) == {("one", voter): (0, -1)}
    assert said(store, first=row.seq or 10) == {}


def test_the_first_drawn_answer_and_how_the_drawn_ones_ended(store: Store) -> None:
    assert store.first_drawn(["one"], "default", AGO) is None
    rows = [
        answered("one", probability=1.0),
        answered("two"),
        answered("one", finish_reason="error", first_token_ms=1.0),
        answered("one", finish_reason="content_filter", first_token_ms=2.0),
        answered("one", first_token_ms=3.0),
        answered(None, first_token_ms=4.0),
        answered("one", project="other"),
        answered("one", simulated=True),
    ]
    store.append(interactions=rows)
    assert store.first_drawn(["one"], "default", AGO) == 3
    assert store.first_drawn(["", "base"], "default", AGO) == 6
    assert store.first_drawn(["one"], "default", datetime.now(UTC) + timedelta(days=1)) is None
    about: dict[str, Any] = {"first": 1, "since": AGO, "most": 2}
    assert store.drawn_answers(["one"], "default", **about) == (3, 1, 1, [2.0, 3.0])
    about["first"] = 5
    assert store.drawn_answers(["one"], "default", **about) == (1, 0, 0, [3.0])


def test_a_look_at_new_votes_reads_no_whole_table(store: Store) -> None:
    votes(store, "one", [True] * 50)
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if "feedback" in statement and connection.dialect.name == "sqlite":
            raw = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", given)
            plans.extend(row[3] for row in raw)

    event.listen(store._database._reader, "before_cursor_execute", explain)
    said(store, 90)
    for table in ("interactions", "feedback", "later"):
        assert not any(line.startswith(f"SCAN {table}") for line in plans)
    assert not any("project" in line for line in plans)
