"""A person leaves the store: every row, every byte, and nobody else's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from feedback_store import (
    Feedback,
    Interaction,
    Message,
    NotFound,
    Person,
    SnapshotRules,
    Store,
    build_snapshot,
)
from feedback_store.keeping.belongings import own_rows
from feedback_store.storage.tables import comparisons, feedback, interactions, metadata
from feedback_store.trust.rules import TrustRules

CANARY = "canary-of-the-person"
# Few votes, all alike, are no honest traffic to judge.
RULES = SnapshotRules(held_out=0.2, recency_half_life_days=30, trust=TrustRules(enabled=False))


def steady() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


Fill = Callable[..., None]


@pytest.fixture
def fill(
    ask: Callable[..., Interaction], thumb: Callable[..., Feedback], compare: Callable[..., Any]
) -> Fill:
    """Twenty conversations of others; with `person`, one who asks and votes between them."""

    def make(store: Store, person: bool) -> None:
        for n in range(20):
            prompt = f"what is {n // 2}?"
            store.append(
                interactions=[
                    ask(f"i{n}a", prompt, f"one {n}", user=f"u{n}", conversation=f"c{n // 2}-{n}"),
                    ask(f"i{n}b", prompt, f"two {n}", user=f"u{n}", conversation=f"c{n // 2}-{n}"),
                ],
                feedback=[thumb(f"i{n}a", 1.0 if n % 3 else -1.0, f"v{n}")],
                comparisons=[compare(f"i{n}a", f"i{n}b", "ab"[n % 2], f"v{n}")],
            )
            if person:
                _person(store, n, ask, thumb, compare)

    return make


def _person(store: Store, n: int, ask: Any, thumb: Any, compare: Any) -> None:
    """Asks, is voted on by others, votes on others' answers, changes a vote, withdraws one."""
    mine = [
        ask(f"mine{n}{slot}", f"{CANARY} what is {n // 2}?", f"{slot} {CANARY}", user="pat",
            conversation=f"pats-{n}")
        for slot in "ab"
    ]  # fmt: skip
    later = ask(f"mine{n}c", f"{CANARY} and then?", "no user here", conversation=f"pats-{n}")
    store.append(
        interactions=[*mine, later],
        feedback=[
            thumb(f"mine{n}a", 1.0, f"v{n}"),
            thumb(f"i{n}a", -1.0, "pat"),
            Feedback(interaction=f"i{n}b", voter="pat", kind="comment", text=f"{CANARY} dull"),
            Feedback(interaction=f"i{n}b", voter="pat", kind="correction", text=f"{CANARY} do"),
        ],
        comparisons=[
            compare(f"mine{n}a", f"mine{n}b", "a", f"v{n}"),
            compare(f"i{n}a", f"i{n}b", "tie", "pat"),
        ],
    )
    store.append(feedback=[thumb(f"i{n}a", 1.0, "pat")])
    if n % 2:
        store.withdraw(f"i{n}a", "pat", "thumb")


@pytest.fixture
def known(tmp_path: Path, fill: Fill) -> Iterator[Store]:
    with Store.open(tmp_path / "known.db", clock=steady) as store:
        fill(store, person=True)
        yield store


def rows(store: Store) -> dict[str, list[Any]]:
    """All rows without their numbers."""
    found = {}
    with store._database.read() as connection:
        for table in (interactions, feedback, comparisons):
            columns = [column for column in table.c if column.name not in ("seq", "id")]
            found[table.name] = sorted(map(str, connection.execute(select(*columns))))
    return found


def erase(store: Store, person: Person) -> None:
    erasure = store.begin_erasure(person)
    store.erase_rows(erasure, person)
    store.scrub()
    store.finish_erasure(erasure, {})


def never_knew(known: Store, folder: Path) -> Store:
    """Another store, in which people have the same pseudonyms."""
    shutil.copy(f"{known.name}.key", folder / "never.db.key")
    return Store.open(folder / "never.db", clock=steady)


def bytes_of(store: Store) -> bytes:
    """The store's files as they lie on the disk."""
    path = Path(store.name)
    return b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*"))


def test_what_is_left_is_what_others_said(known: Store, tmp_path: Path, fill: Fill) -> None:
    erase(known, known.person(user="pat", voter="pat"))
    with never_knew(known, tmp_path) as never:
        fill(never, person=False)
        assert rows(known) == rows(never)


def test_no_byte_of_the_person_stays_in_the_files(known: Store) -> None:
    assert CANARY.encode() in bytes_of(known)
    erase(known, known.person(user="pat", voter="pat"))
    after = bytes_of(known)
    assert CANARY.encode() not in after and b"pats-" not in after and b"mine1" not in after


def test_the_snapshot_is_that_of_a_store_where_the_person_never_was(
    known: Store, tmp_path: Path, fill: Fill
) -> None:
    before = build_snapshot(known, tmp_path / "before", RULES)
    erase(known, known.person(user="pat", voter="pat"))
    after = build_snapshot(known, tmp_path / "after", RULES)
    with never_knew(known, tmp_path) as never:
        fill(never, person=False)
        wanted = build_snapshot(never, tmp_path / "never", RULES)
    for name in wanted.files:
        ours, theirs = (
            tmp_path / at / m.id / name for at, m in (("after", after), ("never", wanted))
        )
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert before.files != after.files
    differ = {k for k, v in wanted.model_dump().items() if after.model_dump()[k] != v}
    assert differ == {"watermark", "erasures", "id"}
    assert after.watermark == before.watermark and len(after.erasures) == 1


@pytest.mark.parametrize("who", [{"user": "pat"}, {"voter": "pat"}])
def test_a_user_and_a_voter_are_two_sides(known: Store, who: dict[str, str]) -> None:
    erase(known, known.person(**who))
    voter, user = known.person(voter="pat"), known.person(user="pat")
    left = {name: known.belongings(person) for name, person in (("voter", voter), ("user", user))}
    if "user" in who:
        assert left["user"] == {} and set(left["voter"]) == {"comparisons", "feedback"}
    else:
        assert left["voter"] == {} and left["user"]["interactions"] == 60


def test_every_table_that_can_hold_a_person_is_searched() -> None:
    person = Person(user="u", voter="v")
    for table in metadata.tables.values():
        if {"user", "voter", "interaction", "a", "b"} & set(table.c.keys()):
            assert own_rows(table, person) is not None, table.name


def test_an_interrupted_erasure_goes_on_and_a_finished_one_is_told_again(known: Store) -> None:
    person = known.person(user="pat", voter="pat")
    begun = known.begin_erasure(person)
    counted = known.erase_rows(begun, person).counts
    again = known.begin_erasure(person)
    assert again.id == begun.id and again.first == begun.first and again.finished_at is None
    assert known.erase_rows(again, person).counts == counted
    known.finish_erasure(again, {"copies": 0})
    told = known.begin_erasure(person)
    assert told.finished_at is not None and told.counts == {**counted, "copies": 0}
    assert len(known.erasures()) == 1


def test_one_who_comes_back_is_another_erasure(known: Store, thumb: Any) -> None:
    person = known.person(voter="pat")
    erase(known, person)
    known.append(feedback=[thumb("i1a", 1.0, "pat")])
    erase(known, person)
    found = {erasure.counts["feedback"]: erasure.first for erasure in known.erasures()}
    assert set(found) == {90, 1} and found[90] != found[1]


def test_a_stranger_and_nobody_are_refused(known: Store) -> None:
    with pytest.raises(NotFound, match="nothing of this person"):
        known.begin_erasure(known.person(user="stranger"))
    with pytest.raises(ValidationError, match="name a user or a voter"):
        known.person()
    assert known.erasures() == []


def test_the_record_does_not_name_the_person(known: Store) -> None:
    erase(known, known.person(user="pat", voter="pat"))
    (record,) = known.erasures()
    assert "pat" not in record.model_dump_json()


def test_a_reader_in_the_way_is_told_and_the_next_try_succeeds(
    known: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    from feedback_store import Unavailable
    from feedback_store.storage import database

    monkeypatch.setattr(database, "LOCK_SECONDS", 0.2)
    person = known.person(user="pat")
    with Store.open(known.name) as other:
        reader = sqlite3.connect(f"file:{known.name}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM interactions").fetchone()
        erasure = other.begin_erasure(person)
        other.erase_rows(erasure, person)
        with pytest.raises(Unavailable, match="a reader holds old pages"):
            other.scrub()
        reader.close()
        other.scrub()
    assert b"pats-" not in bytes_of(known)


def test_a_build_that_an_erasure_overtook_is_refused(
    known: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feedback_store import Conflict
    from feedback_store.snapshots import gathering

    gather = gathering.Gathering

    def overtaken(*arguments: Any) -> Any:
        gathered = gather(*arguments)
        erase(known, known.person(user="pat", voter="pat"))
        return gathered

    monkeypatch.setattr(gathering, "Gathering", overtaken)
    with pytest.raises(Conflict, match="erased while the snapshot was built"):
        build_snapshot(known, tmp_path / "snapshots", RULES)
    assert not list((tmp_path / "snapshots").iterdir()) and known.snapshots() == []


def test_traces_leave_out_what_all_users_share(store: Store) -> None:
    store.append(
        interactions=[
            Interaction(
                id="i1",
                user="pat",
                messages=(
                    Message(role="system", content="You are a helper."),
                    Message(role="user", content="my secret"),
                ),
                response="noted",
            )
        ]
    )
    traces = store.traces(store.person(user="pat"))
    assert traces.texts == {"my secret", "noted"} and traces.ids == {"i1", store.pseudonym("pat")}
