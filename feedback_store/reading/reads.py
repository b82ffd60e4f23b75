"""Typed reads. Streams go page by page, so that none holds a view of the database open."""

from collections.abc import Iterator
from typing import Any, TypedDict, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, func, select

from feedback_store.errors import NotFound
from feedback_store.pseudonyms import Pseudonyms
from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, counter, feedback, interactions, waiting
from feedback_store.writing.waiting import Waiting, waiting_vote

Row = TypeVar("Row", Interaction, Feedback, Comparison)

PAGE = 1_000
FEEDBACK_KEY = ("interaction", "voter", "metric")
COMPARISON_KEY = ("low", "high", "voter")
# What a loop waits for: votes that can become training rows.
TRAINABLE = ("thumb", "rating", "correction")


class WaitingCounts(TypedDict):
    """Votes that wait now, and those that ever waited in vain."""

    waiting: int
    expired: int


class Reads:
    """What the store can be asked; every answer is as of a sequence number."""

    _database: Database
    _pseudonyms: Pseudonyms

    def watermark(self) -> int:
        """The number of the last stored row: 0 in an empty store."""
        with self._database.read() as connection:
            query = select(counter.c.value).where(counter.c.name == "rows")
            return int(connection.execute(query).scalar_one())

    def check_writable(self) -> None:
        """Raise the store's error unless a write transaction can be had; nothing is written."""
        with self._database.write():
            pass

    def interaction(self, id: str) -> Interaction:
        """One interaction, or `NotFound`."""
        query = _columns(interactions, Interaction).where(interactions.c.id == id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"no interaction {id}")
        return Interaction.model_validate(row._asdict())

    def live_feedback(self, interaction: str, voter: str, metric: str) -> Feedback:
        """What this voter says now of this interaction, or `NotFound`."""
        with self._database.read() as connection:
            last = last_feedback(connection, interaction, self.pseudonym(voter), metric)
        if last is None or last.withdrawn:
            raise NotFound(f"no live {metric} of this voter on interaction {interaction}")
        return last

    def live_comparison(self, a: str, b: str, voter: str) -> Comparison:
        """What this voter chooses now between two interactions, or `NotFound`."""
        with self._database.read() as connection:
            last = last_comparison(connection, min(a, b), max(a, b), self.pseudonym(voter))
        if last is None or last.withdrawn:
            raise NotFound(f"no live comparison of this voter between {a} and {b}")
        return last

    def pseudonym(self, id: str) -> str:
        """The name under which this store knows a voter or a user."""
        return self._pseudonyms.of(id)

    def keyed_hash(self, purpose: str, data: bytes) -> bytes:
        """HMAC-SHA256 under the store's secret key; another purpose gives another hash."""
        return bytes.fromhex(self._pseudonyms.digest(purpose, data))

    def waiting(self) -> Iterator[Waiting]:
        """Votes that wait for their interaction, in the order in which they came."""
        after = 0
        query = select(waiting).order_by(waiting.c.place).limit(PAGE)
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(waiting.c.place > after)).all()
            yield from map(waiting_vote, rows)
            if len(rows) < PAGE:
                return
            after = rows[-1].place

    def waiting_counts(self) -> WaitingCounts:
        """How many votes wait, and how many were given up."""
        with self._database.read() as connection:
            rows = connection.execute(select(counter.c.name, counter.c.value)).all()
        found = {row.name: row.value for row in rows}
        return {"waiting": found["waiting"], "expired": found["expired"]}

    def interactions(
        self, *, project: str | None = None, upto: int | None = None
    ) -> Iterator[Interaction]:
        """Interactions in the order they were stored."""
        query = _columns(interactions, Interaction)
        if project is not None:
            query = query.where(interactions.c.project == project)
        return self._pages(query, interactions, Interaction, upto)

    def feedback(
        self, *, project: str | None = None, upto: int | None = None, live: bool = True
    ) -> Iterator[Feedback]:
        """Feedback in the order it was stored: what stands as of `upto`, or every revision."""
        upto = self.watermark() if upto is None else upto
        query = _in_project(_columns(feedback, Feedback), feedback, project)
        if live:
            query = query.where(is_live(feedback, FEEDBACK_KEY, upto))
        return self._pages(query, feedback, Feedback, upto)

    def comparisons(
        self, *, project: str | None = None, upto: int | None = None, live: bool = True
    ) -> Iterator[Comparison]:
        """Comparisons in the order they were stored: what stands as of `upto`, or all."""
        upto = self.watermark() if upto is None else upto
        query = _in_project(_columns(comparisons, Comparison), comparisons, project)
        if live:
            query = query.where(is_live(comparisons, COMPARISON_KEY, upto))
        return self._pages(query, comparisons, Comparison, upto)

    def votes_since(self, seq: int, *, project: str | None = None, most: int | None = None) -> int:
        """How many live votes that can train (no comments, no implicit signals) came after seq.

        Beyond `most` no more are counted.
        """
        upto = self.watermark()
        count = 0
        with self._database.read() as connection:
            for table, key in ((feedback, FEEDBACK_KEY), (comparisons, COMPARISON_KEY)):
                query = _in_project(select(table.c.seq), table, project)
                query = query.where(table.c.seq > seq, is_live(table, key, upto))
                if table is feedback:
                    query = query.where(feedback.c.kind.in_(TRAINABLE))
                found = query.limit(None if most is None else max(0, most - count)).subquery()
                counted = select(func.count()).select_from(found)
                count += int(connection.execute(counted).scalar_one())
        return count

    def _pages(
        self, query: Select[Any], table: Table, record: type[Row], upto: int | None
    ) -> Iterator[Row]:
        last = self.watermark() if upto is None else upto
        return self._walk(query.where(table.c.seq <= last), table, record)

    def _walk(self, query: Select[Any], table: Table, record: type[Row]) -> Iterator[Row]:
        after = 0
        query = query.order_by(table.c.seq).limit(PAGE)
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(table.c.seq > after)).all()
            for row in rows:
                yield record.model_validate(row._asdict())
            if len(rows) < PAGE:
                return
            after = rows[-1].seq


def last_feedback(
    connection: Connection, interaction: str, voter: str, metric: str
) -> Feedback | None:
    """A voter's last word, be it a tombstone."""
    key = dict(zip(FEEDBACK_KEY, (interaction, voter, metric), strict=True))
    return _last(connection, feedback, Feedback, key)


def last_comparison(connection: Connection, low: str, high: str, voter: str) -> Comparison | None:
    """A voter's last choice, be it a tombstone."""
    key = dict(zip(COMPARISON_KEY, (low, high, voter), strict=True))
    return _last(connection, comparisons, Comparison, key)


def _last(
    connection: Connection, table: Table, record: type[Row], key: dict[str, str]
) -> Row | None:
    query = _columns(table, record).where(*(table.c[name] == id for name, id in key.items()))
    row = connection.execute(query.order_by(table.c.revision.desc()).limit(1)).first()
    return None if row is None else record.model_validate(row._asdict())


def is_live(table: Table, key: tuple[str, ...], upto: int) -> ColumnElement[bool]:
    """Whether a row is its key's last word among those up to `upto`, and not a tombstone."""
    later = table.alias("later")
    superseded = exists().where(
        *(later.c[name] == table.c[name] for name in key),
        later.c.revision > table.c.revision,
        later.c.seq <= upto,
    )
    return and_(~superseded, ~table.c.withdrawn, table.c.seq <= upto)


def _columns(table: Table, record: type[Row]) -> Select[Any]:
    return select(*(table.c[name] for name in record.model_fields))


def _in_project(query: Select[Any], table: Table, project: str | None) -> Select[Any]:
    if project is None:
        return query
    if table is comparisons:
        return query.where(comparisons.c.project == project)
    # A join would let the planner begin with the project's interactions, and sort for every page.
    of = select(interactions.c.project).where(interactions.c.id == feedback.c.interaction)
    return query.where(of.scalar_subquery() == project)
