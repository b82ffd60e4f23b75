"""Erasures: what of a person is in the store, how it goes, and what was built of it.

An erasure is written down first, done in steps that can each be done again, and marked finished
last; one that was interrupted is found by its subject and goes on.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select, update

from feedback_store.errors import NotFound
from feedback_store.fields import Document, Id, Record, Utc, new_id
from feedback_store.keeping import belongings
from feedback_store.keeping.belongings import Person, Traces
from feedback_store.pseudonyms import Pseudonyms
from feedback_store.reading import figures
from feedback_store.storage.database import Database
from feedback_store.storage.tables import erased_snapshots, erasures, taints
from feedback_store.writing.rows import take_turn
from feedback_store.writing.waiting import count_waiting


class Erasure(Record):
    """One person taken out; `counts` says what went so far, `finished_at` that all did."""

    id: Id
    subject: Id
    first: dict[str, int]
    counts: Document
    copies: tuple[str, ...] = ()
    created_at: Utc
    finished_at: Utc | None = None


class ErasedSnapshot(Record):
    """A snapshot that saw a person, and the one that was built in its place."""

    snapshot: Id
    erasure: Id
    replaced_by: Id | None = None


class Taint(Record):
    """A policy that learned from what was erased, and through what."""

    policy: Id
    erasure: Id
    through: Literal["snapshot", "export", "parent", "reward"]
    source: Id


class Erasures:
    """The part of the store that forgets."""

    _database: Database
    _clock: Callable[[], datetime]
    _pseudonyms: Pseudonyms

    def stored_id(self, id: str) -> str:
        """The form in which the store keeps a voter's or user's id."""
        return self._pseudonyms.of(id)

    def person(self, *, user: str | None = None, voter: str | None = None) -> Person:
        """A person by the ids that a service knows them by."""
        return Person(
            user=None if user is None else self.stored_id(user),
            voter=None if voter is None else self.stored_id(voter),
        )

    def belongings(self, person: Person) -> dict[str, int]:
        """How many rows of each table are the person's."""
        with self._database.read() as connection:
            return belongings.count_rows(connection, person)

    def first_numbers(self, person: Person) -> dict[str, int]:
        """The lowest number of the person's rows in each project."""
        with self._database.read() as connection:
            return belongings.first_numbers(connection, person)

    def traces(self, person: Person) -> Traces:
        """What a copy of the person's rows would contain."""
        with self._database.read() as connection:
            return belongings.traces(connection, person)

    def begin_erasure(self, person: Person) -> Erasure:
        """Write an erasure down, or go on with the person's unfinished one.

        A person of whom nothing is left gets the last finished erasure again; one of whom nothing
        ever was is `NotFound`.
        """
        with self._database.write() as connection:
            take_turn(connection)
            rows = belongings.count_rows(connection, person)
            first = belongings.first_numbers(connection, person)
            known = _of_subject(connection, person.subject)
            if known is not None and (known.finished_at is None or not rows):
                merged = {p: min(s, known.first.get(p, s)) for p, s in first.items()}
                return _change(connection, known, first={**known.first, **merged})
            if not rows:
                raise NotFound("nothing of this person is in the store, and nothing was erased")
            begun = Erasure(
                id=new_id(),
                subject=person.subject,
                first=first,
                counts={},
                created_at=self._clock(),
            )
            connection.execute(erasures.insert().values(**begun.model_dump()))
            return begun

    def note_copies(self, erasure: Erasure, copies: Iterable[str]) -> Erasure:
        """Remember which files hold the person's rows, before they go and while it can be told."""
        with self._database.write() as connection:
            take_turn(connection)
            known = _get(connection, erasure.id)
            return _change(connection, known, copies=sorted({*known.copies, *copies}))

    def erase_rows(self, erasure: Erasure, person: Person) -> Erasure:
        """Take the person's rows out of every table; their places are overwritten with zeros."""
        with self._database.write() as connection:
            take_turn(connection)
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            known = _get(connection, erasure.id)
            gone = belongings.delete_rows(connection, person)
            count_waiting(connection)
            figures.forget(connection)
            counts = {name: count + _count(known, name) for name, count in gone.items()}
            return _change(connection, known, counts={**known.counts, **counts})

    def replace_snapshot(self, erased: ErasedSnapshot, tainted: Iterable[Taint] = ()) -> None:
        """Record that a snapshot went, with the policies that its difference taints."""
        with self._database.write() as connection:
            take_turn(connection)
            here = erased_snapshots.c.snapshot == erased.snapshot
            if connection.execute(select(erased_snapshots).where(here)).first() is None:
                connection.execute(erased_snapshots.insert().values(**erased.model_dump()))
            _add_taints(connection, tainted)

    def taint(self, tainted: Iterable[Taint]) -> None:
        """Record policies that learned from erased rows; known ones stay as they are."""
        with self._database.write() as connection:
            take_turn(connection)
            _add_taints(connection, tainted)

    def finish_erasure(self, erasure: Erasure, counts: Mapping[str, int]) -> Erasure:
        """Mark an erasure as done; one that was done before stays as it was."""
        with self._database.write() as connection:
            take_turn(connection)
            known = _get(connection, erasure.id)
            if known.finished_at is not None:
                return known
            return _change(
                connection,
                known,
                counts={**known.counts, **counts},
                finished_at=self._clock(),
            )

    def scrub(self) -> None:
        """Leave no erased byte in the database's files: free pages, write-ahead log, old pages."""
        self._database.scrub()

    def erasures(self) -> list[Erasure]:
        """All erasures, oldest first."""
        query = select(erasures).order_by(erasures.c.created_at, erasures.c.id)
        with self._database.read() as connection:
            return [Erasure.model_validate(row._asdict()) for row in connection.execute(query)]

    def erased_snapshots(self) -> dict[str, ErasedSnapshot]:
        """Erased snapshots by their ids."""
        with self._database.read() as connection:
            rows = connection.execute(select(erased_snapshots)).all()
        found = [ErasedSnapshot.model_validate(row._asdict()) for row in rows]
        return {one.snapshot: one for one in found}

    def taints(self) -> dict[str, list[Taint]]:
        """Why each tainted policy is."""
        query = select(taints).order_by(taints.c.policy, taints.c.erasure)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found: dict[str, list[Taint]] = {}
        for row in rows:
            found.setdefault(row.policy, []).append(Taint.model_validate(row._asdict()))
        return found

    def erasures_before(self, project: str, watermark: int) -> tuple[str, ...]:
        """The erasures that a snapshot of this project up to this number does without."""
        return tuple(
            sorted(
                e.id for e in self.erasures() if e.first.get(project, watermark + 1) <= watermark
            )
        )


def _count(erasure: Erasure, name: str) -> int:
    value = erasure.counts.get(name, 0)
    return value if isinstance(value, int) else 0


def _of_subject(connection: Connection, subject: str) -> Erasure | None:
    query = select(erasures).where(erasures.c.subject == subject)
    rows = connection.execute(query.order_by(erasures.c.created_at, erasures.c.id)).all()
    found = [Erasure.model_validate(row._asdict()) for row in rows]
    open_ones = [erasure for erasure in found if erasure.finished_at is None]
    return next(reversed(open_ones or found), None)


def _get(connection: Connection, id: str) -> Erasure:
    row = connection.execute(select(erasures).where(erasures.c.id == id)).one()
    return Erasure.model_validate(row._asdict())


def _change(connection: Connection, known: Erasure, **values: object) -> Erasure:
    connection.execute(update(erasures).where(erasures.c.id == known.id).values(**values))
    return _get(connection, known.id)


def _add_taints(connection: Connection, tainted: Iterable[Taint]) -> None:
    for taint in tainted:
        here = (taints.c.policy == taint.policy) & (taints.c.erasure == taint.erasure)
        if connection.execute(select(taints).where(here)).first() is None:
            connection.execute(taints.insert().values(**taint.model_dump()))
