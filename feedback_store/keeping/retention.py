"""How long interactions and votes are kept, and what is left of those that went.

    people: {interactions_days: 365, votes_days: 730}
    simulated: {interactions_days: 30}
    projects:
      clinic: {people: {interactions_days: 90}}

An interaction goes with all that was said of it. A vote that goes by its own age goes with the
older words under its key, never alone: a withdrawal that went first would bring the vote back.
Of rows that a serving policy learned from, number, kind and policy stay (`expired`): no text, no
person, but what its snapshots were built of can still be counted.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
)

from feedback_store.fields import Label, Record
from feedback_store.reading import figures
from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY
from feedback_store.storage.database import Database
from feedback_store.storage.tables import (
    comparisons,
    expired,
    feedback,
    interactions,
    metadata,
    policies,
    releases,
    reviews,
    snapshots,
)
from feedback_store.writing.rows import take_turn

BATCH = 500
_KEYS = {feedback: FEEDBACK_KEY, comparisons: COMPARISON_KEY}


class Ages(Record):
    """Days after which rows go; None keeps them."""

    interactions_days: float | None = Field(default=None, gt=0)
    """An interaction, and every vote on it."""
    votes_days: float | None = Field(default=None, gt=0)
    """A vote whose interaction may stay."""


class ProjectAges(Record):
    """What holds in one project instead."""

    people: Ages | None = None
    simulated: Ages | None = None


class RetentionRules(Record):
    """How long rows are kept: people's and simulated ones apart, each project as it likes."""

    people: Ages = Ages()
    """Rows that people made."""
    simulated: Ages = Ages()
    """Rows of stand-in users."""
    projects: dict[Label, ProjectAges] = Field(default_factory=dict)
    """A project's own ages, in place of those above."""

    def ages(self, project: str, simulated: bool) -> Ages:
        """What holds for a project's rows."""
        own = self.projects.get(project, ProjectAges())
        if simulated:
            return own.simulated or self.simulated
        return own.people or self.people


class Retention:
    """The part of the store that lets go of what has grown old."""

    _database: Database
    _clock: Callable[[], datetime]

    def expire(self, rules: RetentionRules, *, dry_run: bool = False) -> dict[str, dict[str, int]]:
        """Let go what is too old; counts by project of what went (or would).

        In short transactions, so that votes come in meanwhile; a call that was cut short is made
        again. At the end the database is scrubbed, for which votes wait: `Unavailable` while a
        reader holds an old page, although the rows have gone. A snapshot built later as of an older
        watermark is another one than it was.
        """
        now = self._clock()
        with self._database.read() as connection:
            projects = connection.scalars(select(interactions.c.project).distinct()).all()
            needed = _needed(connection)
        gone: dict[str, dict[str, int]] = {}
        for project in sorted(projects):
            both = [_Old(project, made, rules.ages(project, made), now) for made in (False, True)]
            count: Counter[str] = Counter()
            for table in (feedback, comparisons, interactions):
                old = or_(*(group.rows(table) for group in both))
                if dry_run:
                    count[table.name] = self._count(table, old)
                else:
                    count += self._drop(project, table, old, needed.get(project, 0))
            if not dry_run:
                self._drop_reviews(project, both[0].vote_cut)
            gone[project] = {table.name: count[table.name] for table in (interactions, *_KEYS)}
        if not dry_run:
            self._forget(needed)
            # Even where nothing went: the call before may have been cut short here.
            self._database.scrub()
        return gone

    def remaining(self, snapshot: str) -> dict[str, dict[str, int]]:
        """Of the rows up to a snapshot's watermark: how many are kept, how many have expired."""
        found: dict[str, dict[str, int]] = {}
        with self._database.read() as connection:
            row = connection.execute(select(snapshots).where(snapshots.c.id == snapshot)).one()
            for table in (interactions, *_KEYS):
                kept = select(func.count()).select_from(table).where(table.c.seq <= row.watermark)
                kept = kept.where(_of_project(table, row.project))
                went = select(func.count()).where(
                    expired.c.record == table.name,
                    expired.c.project == row.project,
                    expired.c.seq <= row.watermark,
                )
                found[table.name] = {
                    "kept": int(connection.execute(kept).scalar_one()),
                    "expired": int(connection.execute(went).scalar_one()),
                }
        return found

    def _count(self, table: Table, old: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(table).where(old)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _drop(
        self, project: str, table: Table, old: ColumnElement[bool], needed: int
    ) -> Counter[str]:
        """Batch by batch in the order of numbers; each key loses its oldest words first."""
        count: Counter[str] = Counter()
        after = 0
        while True:
            with self._database.write() as connection:
                take_turn(connection)
                _zero_what_is_freed(connection)
                query = select(table.c.seq).where(table.c.seq > after, old)
                batch = connection.scalars(query.order_by(table.c.seq).limit(BATCH)).all()
                if not batch:
                    return count
                figures.forget(connection, project)
                chosen = table.c.seq.in_(batch)
                if table is interactions:
                    ids = select(interactions.c.id).where(chosen)
                    for column in _references():
                        count += _delete(connection, column.table, column.in_(ids), needed)
                count += _delete(connection, table, chosen, needed)
                after = batch[-1]

    def _drop_reviews(self, project: str, cut: datetime | None) -> None:
        """What people said in reviews goes when their votes do."""
        if cut is None:
            return
        old = (reviews.c.project == project) & (reviews.c.created_at < cut)
        with self._database.write() as connection:
            take_turn(connection)
            _zero_what_is_freed(connection)
            connection.execute(delete(reviews).where(old))

    def _forget(self, needed: dict[str, int]) -> None:
        """Drop what is left of rows that no serving policy stands on any more."""
        with self._database.write() as connection:
            take_turn(connection)
            for project in connection.scalars(select(expired.c.project).distinct()).all():
                beyond = expired.c.seq > needed.get(project, 0)
                connection.execute(delete(expired).where(expired.c.project == project, beyond))


class _Old:
    """The rows of one project and origin that are too old."""

    def __init__(self, project: str, simulated: bool, ages: Ages, now: datetime) -> None:
        self.project = project
        self.simulated = simulated
        self.interaction_cut = _before(now, ages.interactions_days)
        self.vote_cut = _before(now, ages.votes_days)

    def rows(self, table: Table) -> ColumnElement[bool]:
        """Votes by their own age or their interaction's."""
        if table is interactions:
            return self._interactions(interactions)
        about = interactions.alias("about")
        mine = exists().where(
            or_(*(about.c.id == table.c[name] for name in _speaks_of(table))),
            self._interactions(about),
        )
        return or_(mine, self._votes(table))

    def _interactions(self, table: Any) -> ColumnElement[bool]:
        if self.interaction_cut is None:
            return literal(False)
        return and_(
            table.c.project == self.project,
            table.c.simulated == self.simulated,
            table.c.created_at < self.interaction_cut,
        )

    def _votes(self, table: Table) -> ColumnElement[bool]:
        if self.vote_cut is None:
            return literal(False)
        kept = table.alias("kept")
        holds_back = exists().where(
            *(kept.c[name] == table.c[name] for name in _KEYS[table]),
            kept.c.revision <= table.c.revision,
            kept.c.created_at >= self.vote_cut,
        )
        return and_(
            table.c.simulated == self.simulated, ~holds_back, _of_project(table, self.project)
        )


def _before(now: datetime, days: float | None) -> datetime | None:
    return None if days is None else now - timedelta(days=days)


def _speaks_of(table: Table) -> tuple[str, ...]:
    return ("interaction",) if table is feedback else ("a", "b")


def _of_project(table: Table, project: str) -> ColumnElement[bool]:
    if table is not feedback:
        return table.c.project == project
    about = interactions.alias("of_project")
    return exists().where(about.c.id == feedback.c.interaction, about.c.project == project)


def _references() -> Iterator[Any]:
    """Every column that names an interaction: a table added later is not forgotten."""
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            if key.column is interactions.c.id:
                yield key.parent


def _delete(
    connection: Connection, table: Table, chosen: ColumnElement[bool], needed: int
) -> Counter[str]:
    if table is interactions or table in _KEYS:
        connection.execute(_remainders(table, chosen, needed))
    return Counter({table.name: connection.execute(delete(table).where(chosen)).rowcount})


def _remainders(table: Table, chosen: ColumnElement[bool], needed: int) -> Any:
    columns = ["seq", "id", "record", "project", "kind", "policy"]
    about = table if table is interactions else interactions.alias("about")
    kind = feedback.c.kind if table is feedback else literal(table.name.removesuffix("s"))
    values = [table.c.seq, table.c.id, literal(table.name), about.c.project, kind, about.c.policy]
    query = select(*values).where(chosen, table.c.seq <= needed)
    if table is not interactions:
        query = query.where(about.c.id == table.c[_speaks_of(table)[0]])
    return insert(expired).from_select(columns, query)


def _needed(connection: Connection) -> dict[str, int]:
    """By project, the highest watermark of a snapshot that a serving policy goes back to."""
    last = select(func.max(releases.c.seq)).group_by(releases.c.project)
    serving = select(releases.c.policy).where(releases.c.seq.in_(last))
    line = select(policies.c.id, policies.c.parent, policies.c.snapshot)
    ancestry = line.where(policies.c.id.in_(serving)).cte(recursive=True)
    ancestry = ancestry.union(line.join(ancestry, policies.c.id == ancestry.c.parent))
    query = select(snapshots.c.project, func.max(snapshots.c.watermark))
    query = query.where(snapshots.c.id.in_(select(ancestry.c.snapshot)))
    return {
        project: int(mark)
        for project, mark in connection.execute(query.group_by(snapshots.c.project))
    }


def _zero_what_is_freed(connection: Connection) -> None:
    """SQLite else leaves deleted text lying in the file until it is scrubbed."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
