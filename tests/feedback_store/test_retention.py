"""What grows old goes, what is needed stays countable, and nothing comes back to life."""

import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feedback_store import (
    Feedback,
    Policy,
    Release,
    SnapshotRules,
    Store,
    Unavailable,
    build_snapshot,
)
from feedback_store.keeping.retention import RetentionRules
from feedback_store.storage import database

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "store.db", clock=lambda: NOW) as opened:
        yield opened


def rules(**given) -> RetentionRules:
    return RetentionRules.model_validate(given)


def ids(rows) -> set[str]:
    return {row.id for row in rows}


def test_rows_go_by_project_and_origin(store: Store, ask, thumb, compare) -> None:
    def at(days: float, **fields):
        return {"created_at": days_ago(days), **fields}

    store.append(
        interactions=[
            ask("old", **at(100)),
            ask("new", **at(10)),
            ask("sim", **at(10), simulated=True),
            ask("clinic-old", **at(100), project="clinic"),
            ask("clinic-new", **at(10), project="clinic"),
        ],
        feedback=[
            thumb("old", **at(5)),
            thumb("new", **at(9)),
            thumb("sim", **at(9), simulated=True),
            thumb("clinic-old", **at(99)),
            thumb("clinic-new", **at(9)),
        ],
        comparisons=[compare("old", "new", "a", **at(5)), compare("new", "sim", "a", **at(5))],
    )
    kept = rules(
        people={"interactions_days": 90},
        simulated={"interactions_days": 7},
        projects={"clinic": {"people": {"interactions_days": 365, "votes_days": 30}}},
    )
    would = store.expire(kept, dry_run=True)
    assert would == {
        "clinic": {"interactions": 0, "feedback": 1, "comparisons": 0},
        "default": {"interactions": 2, "feedback": 2, "comparisons": 2},
    }
    assert len(ids(store.interactions())) == 5
    assert store.expire(kept) == would
    assert ids(store.interactions()) == {"new", "clinic-old", "clinic-new"}
    assert ids(store.feedback()) == {"thumb-new-ann-1.0", "thumb-clinic-new-ann-1.0"}
    assert ids(store.comparisons()) == set()
    assert sum(sum(counts.values()) for counts in store.expire(kept).values()) == 0
    store.append(interactions=[ask("next")])
    assert store.interaction("next").seq == 13  # numbers are never given twice


def test_no_rules_keep_all(store: Store, ask, thumb) -> None:
    store.append(interactions=[ask("a", created_at=days_ago(10_000))], feedback=[thumb("a")])
    assert store.expire(rules()) == {
        "default": {"interactions": 0, "feedback": 0, "comparisons": 0}
    }
    with pytest.raises(ValidationError):
        rules(people={"interactions_days": 0})
    with pytest.raises(ValidationError):
        rules(peopel={})


# A key's words with client-given times in any order; the live value may only vanish, never change.
words = st.lists(st.tuples(st.sampled_from([1.0, -1.0, None]), st.integers(0, 60)), max_size=6)


@given(words)
@settings(max_examples=10)
def test_a_withdrawn_or_changed_vote_never_comes_back(tmp_path_factory, said) -> None:
    from feedback_store import Interaction, Message

    path = tmp_path_factory.mktemp("retention") / "s.db"
    with Store.open(path, clock=lambda: NOW) as store:
        asked = (Message(role="user", content="q"),)
        store.append(interactions=[Interaction(id="a", messages=asked, response="r")])
        for value, days in said:
            store.append(
                feedback=[
                    Feedback(
                        interaction="a",
                        voter="v",
                        kind="thumb",
                        value=value,
                        withdrawn=value is None,
                        created_at=days_ago(days),
                    )
                ]
            )
        before = {row.id: row.value for row in store.feedback()}
        would = store.expire(rules(people={"votes_days": 30}), dry_run=True)
        assert store.expire(rules(people={"votes_days": 30})) == would
        after = {row.id: row.value for row in store.feedback()}
        assert after.items() <= before.items()
        if said and said[-1][0] is not None and said[-1][1] < 30:
            assert after == before
        if all(days > 30 for _, days in said):
            assert not list(store.feedback(live=False))


def test_what_a_champion_learned_from_stays_countable(
    store: Store, tmp_path: Path, ask, thumb
) -> None:
    text = "words that nobody else would say"
    store.append(
        interactions=[ask(f"i{n}", f"q{n}", text, created_at=days_ago(50)) for n in range(1_100)],
        feedback=[thumb(f"i{n}", created_at=days_ago(50 if n else 1)) for n in range(1_100)],
    )
    first = build_snapshot(store, tmp_path / "snapshots", SnapshotRules(held_out=0.0))
    store.append(interactions=[ask("later", "q", text, created_at=days_ago(49))])
    for id, parent, snapshot in (("base", None, first.id), ("top", "base", None)):
        path = str(tmp_path / id)
        policy = Policy(id=id, kind="lora", base_model="m", path=path, parent=parent)
        store.add_policy(policy.model_copy(update={"snapshot": snapshot}))
    store.add_release(Release(policy="top", action="promote"))
    whole = {"kept": 1_100, "expired": 0}
    none = {"kept": 0, "expired": 0}
    counted = {"interactions": whole, "feedback": whole, "comparisons": none}
    assert store.remaining(first.id) == counted
    store.expire(rules(people={"votes_days": 30}))
    assert store.remaining(first.id)["feedback"] == {"kept": 1, "expired": 1_099}
    went = store.expire(rules(people={"interactions_days": 30}))
    assert went["default"] == {"interactions": 1_101, "feedback": 1, "comparisons": 0}
    gone = {"kept": 0, "expired": 1_100}
    assert store.remaining(first.id) == {**counted, "interactions": gone, "feedback": gone}
    with store._database.read() as connection:
        left = connection.exec_driver_sql("SELECT * FROM expired").mappings().all()
    assert "later" not in {row["id"] for row in left}  # no snapshot saw it, so nothing of it stays
    assert Counter(row["kind"] for row in left) == {"interaction": 1_100, "thumb": 1_100}
    assert set(left[0]) == {"seq", "id", "record", "project", "kind", "policy"}
    store.close()
    assert text.encode() not in (tmp_path / "store.db").read_bytes()


def test_no_byte_of_what_expired_stays_in_the_files(store: Store, ask, thumb) -> None:
    """Not in the write-ahead log either, though the store stays open."""
    texts = [f"an old question {n}, asked by nobody else" for n in range(50)]
    for n, text in enumerate(texts):
        # Long answers lie on pages of their own, which the free list keeps.
        row = ask(f"old-{n}", text, "a long answer " * 900 + text, created_at=days_ago(50))
        store.append(interactions=[row], feedback=[thumb(row.id)])
    store.append(interactions=[ask("young", "a young question")])

    def lies_in() -> dict[str, bytes]:
        return {end: Path(f"{store.name}{end}").read_bytes() for end in ("", "-wal")}

    assert b"asked by nobody else" in b"".join(lies_in().values())
    store.expire(rules(people={"interactions_days": 30}))
    after = lies_in()
    for told in (b"asked by nobody else", b"a long answer", b"old-4", b"thumb-old"):
        assert all(told not in data for data in after.values())
    assert b"young" in after[""] and after["-wal"] == b""


def test_an_expiry_that_a_reader_hindered_is_completed_by_the_next(
    store: Store, ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.2)
    store.append(interactions=[ask("old", "words of old", created_at=days_ago(50))])
    with Store.open(store.name, clock=lambda: NOW) as other:
        reader = sqlite3.connect(f"file:{store.name}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM interactions").fetchone()
        with pytest.raises(Unavailable, match="a reader holds old pages"):
            other.expire(rules(people={"interactions_days": 30}))
        reader.close()
        other.expire(rules(people={"interactions_days": 30}))
    assert b"words of old" not in Path(store.name).read_bytes()
    assert b"words of old" not in Path(f"{store.name}-wal").read_bytes()


def test_remainders_go_with_the_champion(store: Store, tmp_path: Path, ask, thumb) -> None:
    store.append(interactions=[ask("a", created_at=days_ago(50))], feedback=[thumb("a")])
    built = build_snapshot(store, tmp_path / "snapshots", SnapshotRules(held_out=0.0))
    for id, snapshot in (("old", built.id), ("new", None)):
        store.add_policy(
            Policy(id=id, kind="lora", base_model="m", path=str(tmp_path), snapshot=snapshot)
        )
    store.add_release(Release(policy="old", action="promote"))
    store.expire(rules(people={"interactions_days": 30}))
    assert store.remaining(built.id)["feedback"]["expired"] == 1
    store.add_release(Release(policy="new", action="promote"))
    store.expire(rules())
    assert store.remaining(built.id)["feedback"] == {"kept": 0, "expired": 0}
