"""The write path: each function takes a connection inside a write transaction."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Select, Table, bindparam, func, select, update

from feedback_store.errors import Conflict, NotFound, Refused
from feedback_store.schema import Comparison, Feedback
from feedback_store.storage.inserting import insert, values_of
from feedback_store.storage.many import key_table, packed
from feedback_store.storage.tables import comparisons, counter, feedback, interactions
from feedback_store.writing.intake import Row

Vote = TypeVar("Vote", Feedback, Comparison)

_CHUNK = 500
_STAMPS = {"seq": None, "revision": 0, "created_at": None, "client_time": None}


class Turn(NamedTuple):
    """The last number given to a row, and how many votes wait for their interaction."""

    seq: int
    waiting: int


_COUNTERS = select(counter.c.name, counter.c.value).order_by(counter.c.name).with_for_update()
_COUNT_ON = update(counter).where(counter.c.name == "rows").values(value=bindparam("last"))


def take_turn(connection: Connection) -> Turn:
    """Where the store stands; no other writer gets past here until this transaction ends."""
    found: dict[str, int] = {row.name: row.value for row in connection.execute(_COUNTERS)}
    return Turn(found["rows"], found["waiting"])


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    seq: int,
    now: datetime,
    revisions: Sequence[int] | None = None,
) -> int:
    """Write what is new with numbers from seq + 1 on; returns the last one given.

    Votes have a revision each.
    """
    if not rows:
        return seq
    values = [
        {**values_of(row), "seq": number, "created_at": row.created_at or now}
        for number, row in enumerate(rows, start=seq + 1)
    ]
    if revisions is not None:
        for value, revision in zip(values, revisions, strict=True):
            value["revision"] = revision
    insert(connection, table, values)
    last = seq + len(values)
    connection.execute(_COUNT_ON, {"last": last})
    return last


def unknown(
    connection: Connection, table: Table, rows: Iterable[Row], early: Iterable[Row] = ()
) -> list[Row]:
    """The rows that aren't stored yet; `Conflict` where an id is taken by another body.

    `early` are those that wait under one of these ids.
    """
    rows = list(rows)
    known = {stored.id: stored for stored in _stored(connection, table, rows)}
    known |= {row.id: row for row in early}
    fresh = []
    for row in rows:
        stored = known.get(row.id)
        if stored is None:
            known[row.id] = row
            fresh.append(row)
        elif not same_body(stored, row):
            raise Conflict(f"{table.name} id {row.id} is taken by another body")
    return fresh


def same_body(stored: Row, row: Row) -> bool:
    """Whether two rows say the same, apart from what the store stamps."""
    if row.created_at not in (None, stored.created_at):
        return False
    stamps = {name: value for name, value in _STAMPS.items() if name in type(row).model_fields}
    return stored.model_copy(update=stamps) == row.model_copy(update=stamps)


def projects_of(connection: Connection, votes: Sequence[Feedback | Comparison]) -> dict[str, str]:
    """The project of each interaction that these votes speak of and that is stored."""
    wanted = sorted({id for vote in votes for id in spoken_of(vote)})
    if not wanted:
        return {}
    query = _projects_query(connection.dialect.name)
    rows = connection.execute(query, packed(wanted)).all()
    return {row.id: row.project for row in rows}


def spoken_of(vote: Feedback | Comparison) -> tuple[str, ...]:
    """The interactions that a vote needs."""
    return vote.pair if isinstance(vote, Comparison) else (vote.interaction,)


def insert_votes(
    connection: Connection,
    votes: Sequence[Vote],
    projects: dict[str, str],
    seq: int,
    now: datetime,
) -> int:
    """Write votes on stored interactions, in their order; returns the last number given."""
    if not votes:
        return seq
    for vote in votes:
        refuse_strange(vote, projects)
        if (id := missing(vote, projects)) is not None:
            raise NotFound(f"no interaction {id}")
    table = feedback if isinstance(votes[0], Feedback) else comparisons
    return insert_rows(connection, table, votes, seq, now, _revisions(connection, votes))


def missing(vote: Feedback | Comparison, projects: dict[str, str]) -> str | None:
    """An interaction that the vote needs and that isn't stored."""
    for id in spoken_of(vote):
        if id not in projects:
            return id
    return None


def refuse_strange(vote: Feedback | Comparison, projects: dict[str, str]) -> None:
    """Refuse a comparison of answers that aren't of its own project."""
    if isinstance(vote, Feedback):
        return
    for id in vote.pair:
        if projects.get(id, vote.project) != vote.project:
            raise Refused(
                f"comparison {vote.id} is of project {vote.project}, but interaction {id} "
                f"is of project {projects[id]}"
            )


def _revisions(connection: Connection, votes: Sequence[Vote]) -> list[int]:
    """The votes' numbers within their keys: 1 is the first word, the highest the last."""
    last = _last_revisions(connection, votes)
    numbers = []
    for key in map(vote_key, votes):
        last[key] = last.get(key, 0) + 1
        numbers.append(last[key])
    return numbers


def vote_key(vote: Feedback | Comparison) -> tuple[str, str, str]:
    """What has one live value."""
    if isinstance(vote, Feedback):
        return (vote.interaction, vote.voter, vote.metric)
    return (*vote.pair, vote.voter)


def _last_revisions(
    connection: Connection, votes: Sequence[Feedback] | Sequence[Comparison]
) -> dict[tuple[str, str, str], int]:
    table = feedback if isinstance(votes[0], Feedback) else comparisons
    query = _revisions_query(connection.dialect.name, table)
    rows = connection.execute(query, packed({vote_key(vote) for vote in votes})).all()
    return {(a, b, c): revision for a, b, c, revision in rows if revision is not None}


def _stored(connection: Connection, table: Table, rows: Sequence[Row]) -> Iterator[Row]:
    if not rows:
        return
    query = _rows_query(connection.dialect.name, table, tuple(type(rows[0]).model_fields))
    for found in connection.execute(query, packed({row.id for row in rows})):
        yield type(rows[0]).model_validate(found._asdict())


Item = TypeVar("Item")


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """So many at a time as one query takes."""
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


# Statements are built once: building one takes several times as long as running it.


@cache
def _projects_query(dialect: str) -> Select[Any]:
    keys = key_table(dialect, "id")
    query = select(interactions.c.id, interactions.c.project).select_from(keys)
    return query.join(interactions, interactions.c.id == keys.c.id)


@cache
def _rows_query(dialect: str, table: Table, fields: tuple[str, ...]) -> Select[Any]:
    keys = key_table(dialect, "id")
    query = select(*(table.c[name] for name in fields)).select_from(keys)
    return query.join(table, table.c.id == keys.c.id)


@cache
def _revisions_query(dialect: str, table: Table) -> Select[Any]:
    names = ("interaction", "voter", "metric") if table is feedback else ("low", "high", "voter")
    keys = key_table(dialect, *names)
    # A look-up in the unique index for each key; grouped, all rows found would be sorted.
    last = select(func.max(table.c.revision)).where(
        *(table.c[name] == keys.c[name] for name in names)
    )
    return select(*keys.c, last.correlate(keys).scalar_subquery())
