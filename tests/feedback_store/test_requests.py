"""Requests that are sent again under their idempotency key."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feedback_store import Comparison, Conflict, Feedback, NotFound, Refused, Store


def vote(value: float = 1.0) -> Feedback:
    """The same words each time, under an id of chance."""
    return Feedback(interaction="a", voter="ann", kind="thumb", value=value)


def test_the_same_again_gets_the_same_answer_and_no_second_row(store: Store, ask) -> None:
    store.append(interactions=[ask("a"), ask("b")])
    said = store.append(feedback=[vote()], idempotency_key="k")
    store.append(feedback=[vote(-1.0)])
    assert store.append(feedback=[vote()], idempotency_key="k") == said == 3
    assert [row.value for row in store.feedback(live=False)] == [1.0, -1.0]
    choice = {"a": "a", "b": "b", "voter": "ann", "choice": "a"}
    for _ in range(2):
        assert store.append(comparisons=[Comparison(**choice)], idempotency_key="c") == 5
    asked = [ask("x").model_copy(), ask("y")]
    for _ in range(2):
        assert store.append(interactions=asked, idempotency_key="i") == 7


def test_an_interaction_without_an_id_is_the_same_too(store: Store) -> None:
    from feedback_store import Interaction

    def new() -> Interaction:
        return Interaction(messages=[{"role": "user", "content": "q"}], response="r")

    assert new() != new()
    assert store.append(interactions=[new()], idempotency_key="k") == 1
    assert store.append(interactions=[new()], idempotency_key="k") == 1
    (row,) = store.interactions()
    assert row.conversation == row.id


def test_another_body_is_refused_and_changes_nothing(store: Store, ask) -> None:
    store.append(interactions=[ask("a")])
    store.append(feedback=[vote()], idempotency_key="k")
    for rows in ({"feedback": [vote(-1.0)]}, {"feedback": [vote(), vote()]}, {}):
        with pytest.raises(Conflict, match="another body; take a new key"):
            store.append(**rows, idempotency_key="k")
    with pytest.raises(Conflict):
        store.withdraw("a", "ann", "thumb", idempotency_key="k")
    assert store.watermark() == 2 and store.live_feedback("a", "ann", "thumb").value == 1.0


def test_a_retraction_sent_again_is_one(store: Store, ask) -> None:
    store.append(interactions=[ask("a")], feedback=[vote()])
    said = store.withdraw("a", "ann", "thumb", idempotency_key="gone")
    assert store.withdraw("a", store.pseudonym("ann"), "thumb", idempotency_key="gone") == said
    store.append(feedback=[vote()])
    assert store.withdraw("a", "ann", "thumb", idempotency_key="gone") == said
    assert store.live_feedback("a", "ann", "thumb").revision == 3


def test_an_early_vote_is_kept_once(store: Store, ask) -> None:
    for _ in range(2):
        assert store.append(feedback=[vote()], wait=True, idempotency_key="k") == 0
    store.append(interactions=[ask("a")])
    assert store.append(feedback=[vote()], wait=True, idempotency_key="k") == 0
    assert len(list(store.feedback(live=False))) == 1


def test_what_failed_may_be_sent_again(store: Store, ask) -> None:
    with pytest.raises(NotFound):
        store.append(feedback=[vote()], idempotency_key="k")
    store.append(interactions=[ask("a")])
    assert store.append(feedback=[vote()], idempotency_key="k") == 2
    for key in ("", "x" * 256):
        with pytest.raises(Refused, match="1 to 255 characters"):
            store.append(feedback=[vote()], idempotency_key=key)


def test_a_key_outlives_a_restart_but_not_its_age(tmp_path: Path, ask) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with Store.open(tmp_path / "s.db", clock=lambda: now) as store:
        store.append(interactions=[ask("a")])
        store.append(feedback=[vote()], idempotency_key="语k")
    for days, rows in ((6, 1), (8, 2)):
        later = now + timedelta(days=days)
        with Store.open(tmp_path / "s.db", clock=lambda later=later: later) as store:
            store.append(feedback=[vote()], idempotency_key="语k")
            assert len(list(store.feedback(live=False))) == rows


def test_a_clients_clock_is_only_advice(tmp_path: Path, ask) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with Store.open(tmp_path / "s.db", clock=lambda: now) as store:
        store.append(interactions=[ask("a")])
        times = [timedelta(minutes=4), timedelta(days=-2), timedelta(days=-31), timedelta(hours=1)]
        for n, off in enumerate(times):
            word = vote(1.0 if n % 2 else -1.0)
            store.append(feedback=[word.model_copy(update={"client_time": now + off})])
        rows = list(store.feedback(live=False))
        assert [row.client_time for row in rows] == [now + times[0], now + times[1], None, None]
        assert {row.created_at for row in rows} == {now}
        # The last to come is what stands, whatever the clients' clocks say.
        assert store.live_feedback("a", "ann", "thumb").revision == 4
        again = rows[0].model_copy(update={"client_time": now, "seq": None})
        assert store.append(feedback=[again]) == 5
