"""What was trained, judged and released: the lineage from a snapshot to the serving policy."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, func, select, update

from feedback_store.errors import Conflict, NotFound
from feedback_store.freezes import standing
from feedback_store.schema import Decision, Policy, Release, Snapshot
from feedback_store.storage.database import Database
from feedback_store.storage.tables import decisions, policies, releases, snapshots
from feedback_store.writing.rows import take_turn

Entry = TypeVar("Entry", Policy, Snapshot, Decision)

_WITHOUT_REPORT = [column for column in decisions.c if column.name != "report"]


class Registry:
    """Adding the same body again is a no-op that returns what is stored; another is a Conflict."""

    _database: Database
    _clock: Callable[[], datetime]

    def add_policy(self, policy: Policy) -> Policy:
        """Record a policy version."""
        return self._add(policies, policy)

    def move_policy(self, id: str, path: str) -> None:
        """The policy's files lie elsewhere now; all else of it stays."""
        self.policy(id)
        with self._database.write() as connection:
            take_turn(connection)
            here = policies.c.id == id
            connection.execute(update(policies).where(here).values(path=path))

    def policy(self, id: str) -> Policy:
        """One policy, or `NotFound`."""
        return self._get(policies, Policy, id)

    def policies(self) -> list[Policy]:
        """All policies, oldest first."""
        return self._all(policies, Policy)

    def add_snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Record a data set; a snapshot that has moved keeps its id and takes the new path."""
        with self._database.write() as connection:
            take_turn(connection)
            here = snapshots.c.id == snapshot.id
            connection.execute(update(snapshots).where(here).values(path=snapshot.path))
            return _add(connection, snapshots, snapshot, self._clock())

    def snapshot(self, id: str) -> Snapshot:
        """One snapshot's record, or `NotFound`."""
        return self._get(snapshots, Snapshot, id)

    def snapshots(self) -> list[Snapshot]:
        """All snapshots' records, oldest first."""
        return self._all(snapshots, Snapshot)

    def add_decision(self, decision: Decision) -> Decision:
        """Record what the gate said; the candidate and the champion must be known policies."""
        for id in (decision.candidate, decision.champion):
            if id is not None:
                self.policy(id)
        return self._add(decisions, decision)

    def decision(self, id: str) -> Decision:
        """One decision, or `NotFound`."""
        return self._get(decisions, Decision, id)

    def decisions(self, *, reports: bool = True) -> list[Decision]:
        """All decisions, oldest first; without their reports, which are large, where so asked."""
        if reports:
            return self._all(decisions, Decision)
        query = select(*_WITHOUT_REPORT).order_by(decisions.c.created_at, decisions.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Decision.model_validate(row._asdict()) for row in rows]

    def last_decisions(self, project: str) -> dict[str, Decision]:
        """What was last decided on each candidate of a project, without the reports."""
        query = select(*_WITHOUT_REPORT).where(decisions.c.project == project)
        query = query.order_by(decisions.c.created_at, decisions.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {row.candidate: Decision.model_validate(row._asdict()) for row in rows}

    def add_release(self, release: Release) -> Release:
        """Make a policy the champion; a no-op where it already is.

        `previous` may be left out; given, it must be the champion still, or somebody released
        meanwhile and this is a `Conflict`. So is a promotion in a frozen project; a roll back
        isn't: it is the way out.
        """
        self.policy(release.policy)
        with self._database.write() as connection:
            take_turn(connection)
            last = _last_release(connection, release.project)
            champion = last.policy if last else None
            if last and champion == release.policy:
                return last
            frozen = standing(connection, release.project)
            if frozen is not None and release.action == "promote":
                raise Conflict(frozen.told())
            if release.previous not in (None, champion):
                raise Conflict(f"the champion is {champion}, no longer {release.previous}")
            stamped = release.model_copy(
                update={
                    "seq": _next_seq(connection),
                    "previous": champion,
                    "created_at": release.created_at or self._clock(),
                }
            )
            connection.execute(releases.insert().values(**stamped.model_dump()))
            return stamped

    def releases(self, project: str | None = None) -> list[Release]:
        """A project's releases, or all, oldest first."""
        query = select(releases).order_by(releases.c.seq)
        if project is not None:
            query = query.where(releases.c.project == project)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Release.model_validate(row._asdict()) for row in rows]

    def champion(self, project: str = "default") -> Policy | None:
        """The policy that serves a project: its last release's, none before the first."""
        with self._database.read() as connection:
            last = _last_release(connection, project)
        return self.policy(last.policy) if last else None

    def _add(self, table: Table, entry: Entry) -> Entry:
        with self._database.write() as connection:
            take_turn(connection)
            return _add(connection, table, entry, self._clock())

    def _get(self, table: Table, record: type[Entry], id: str) -> Entry:
        with self._database.read() as connection:
            row = connection.execute(select(table).where(table.c.id == id)).one_or_none()
        if row is None:
            raise NotFound(f"no {record.__name__.lower()} {id}")
        return record.model_validate(row._asdict())

    def _all(self, table: Table, record: type[Entry]) -> list[Entry]:
        query = select(table).order_by(table.c.created_at, table.c.id)
        with self._database.read() as connection:
            return [record.model_validate(row._asdict()) for row in connection.execute(query)]


def _add(connection: Connection, table: Table, entry: Entry, now: datetime) -> Entry:
    row = connection.execute(select(table).where(table.c.id == entry.id)).one_or_none()
    if row is None:
        stamped = entry.model_copy(update={"created_at": entry.created_at or now})
        values: dict[str, Any] = stamped.model_dump()
        connection.execute(table.insert().values(**values))
        return stamped
    stored = type(entry).model_validate(row._asdict())
    same = entry.model_copy(update={"created_at": entry.created_at or stored.created_at})
    if stored != same:
        name = type(entry).__name__.lower()
        raise Conflict(f"{name} {entry.id} is already recorded with another body")
    return stored


def _next_seq(connection: Connection) -> int:
    return int(connection.execute(select(func.max(releases.c.seq))).scalar() or 0) + 1


def _last_release(connection: Connection, project: str) -> Release | None:
    own = releases.c.project == project
    last = select(func.max(releases.c.seq)).where(own).scalar_subquery()
    row = connection.execute(select(releases).where(releases.c.seq == last)).one_or_none()
    return Release.model_validate(row._asdict()) if row else None
