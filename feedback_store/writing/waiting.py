"""Votes that came before their interaction: kept on disk, live as soon as it is stored.

Each function takes a connection inside a write transaction whose turn has been taken. A waiting
vote has no number yet, so no watermark covers it; it gets one right after its interaction, and
votes that come to life together do so in the order in which they came.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy import Row as Found

from feedback_store.errors import Refused, Unavailable
from feedback_store.fields import Id, Record, Short, Utc
from feedback_store.limits import Limits
from feedback_store.schema import Comparison, Feedback
from feedback_store.storage.tables import counter, waiting
from feedback_store.writing.rows import (
    Vote,
    chunks,
    insert_votes,
    missing,
    projects_of,
    refuse_strange,
    vote_key,
)

RECORDS: dict[str, type[Feedback] | type[Comparison]] = {
    "feedback": Feedback,
    "comparison": Comparison,
}
_NAMES = {record: name for name, record in RECORDS.items()}


class Waiting(Record):
    """A vote, the interaction that it waits for, since when; or why it will wait in vain."""

    vote: Feedback | Comparison
    awaits: Id | None
    since: Utc
    problem: Short | None


def waiting_vote(row: Found[Any]) -> Waiting:
    """A row of the table."""
    vote = RECORDS[row.record].model_validate(row.body)
    return Waiting(vote=vote, awaits=row.awaits, since=row.created_at, problem=row.problem)


def put(
    connection: Connection,
    votes: Sequence[Feedback] | Sequence[Comparison],
    projects: dict[str, str],
    limits: Limits,
    now: datetime,
) -> None:
    """Let votes wait for what `projects` lacks; `Unavailable` where there is no room."""
    if not votes:
        return
    for vote in votes:
        refuse_strange(vote, projects)
    _count(connection, waiting=len(votes))
    query = select(counter.c.value).where(counter.c.name == "waiting")
    if connection.execute(query).scalar_one() > limits.waiting:
        raise Unavailable(
            f"{limits.waiting} votes wait for interactions already; store those first"
        )
    values = [
        {
            "record": _record(vote),
            "id": vote.id,
            "awaits": missing(vote, projects),
            "voter": vote.voter,
            "body": vote.model_dump(mode="json", exclude={"seq", "revision"}),
            "created_at": now,
        }
        for vote in votes
    ]
    connection.execute(waiting.insert(), values)
    for chunk in chunks(sorted({vote.voter for vote in votes})):
        counts = select(func.count()).where(waiting.c.voter.in_(chunk)).group_by(waiting.c.voter)
        if max(connection.execute(counts).scalars()) > limits.waiting_of_voter:
            raise Unavailable(
                f"{limits.waiting_of_voter} votes of one voter wait for interactions already; "
                "store those first"
            )


def admit(connection: Connection, ids: Sequence[str], seq: int, now: datetime) -> int:
    """Make live what waited for these interactions alone; returns the last number given."""
    query = select(waiting).order_by(waiting.c.place)
    found = [
        row
        for chunk in chunks(ids)
        for row in connection.execute(query.where(waiting.c.awaits.in_(chunk)))
    ]
    found.sort(key=lambda row: row.place)
    # A comparison and a thumb are rows of different tables, but have their numbers in one order.
    for _, run in groupby(found, key=lambda row: row.record):
        seq = _admit_run(connection, list(run), seq, now)
    return seq


def _admit_run(connection: Connection, rows: list[Found[Any]], seq: int, now: datetime) -> int:
    votes = [_dated(row) for row in rows]
    projects = projects_of(connection, votes)
    ready: list[Any] = []
    for row, vote in zip(rows, votes, strict=True):
        here = waiting.c.place == row.place
        awaits, problem = missing(vote, projects), _problem(vote, projects)
        if awaits is None and problem is None:
            connection.execute(delete(waiting).where(here))
            ready.append(vote)
            continue
        values = {"awaits": None if problem else awaits, "problem": problem}
        connection.execute(update(waiting).where(here).values(values))
    _count(connection, waiting=-len(ready))
    return insert_votes(connection, ready, projects, seq, now)


def _problem(vote: Feedback | Comparison, projects: dict[str, str]) -> str | None:
    try:
        refuse_strange(vote, projects)
    except Refused as error:
        return str(error)
    return None


def expire(connection: Connection, before: datetime) -> int:
    """Give up what has waited since before this moment; returns how many still wait."""
    gone = connection.execute(delete(waiting).where(waiting.c.created_at < before)).rowcount
    if gone:
        _count(connection, waiting=-gone, expired=gone)
    query = select(counter.c.value).where(counter.c.name == "waiting")
    return int(connection.execute(query).scalar_one())


def count_waiting(connection: Connection) -> None:
    """Count anew, after rows went by another way than through here."""
    left = select(func.count()).select_from(waiting).scalar_subquery()
    connection.execute(update(counter).where(counter.c.name == "waiting").values(value=left))


def early(connection: Connection, votes: Sequence[Vote]) -> Iterator[Vote]:
    """What waits under the ids of these votes."""
    for chunk in chunks([vote.id for vote in votes]):
        query = select(waiting).where(
            waiting.c.record == _record(votes[0]), waiting.c.id.in_(chunk)
        )
        for row in connection.execute(query):
            yield type(votes[0]).model_validate(row.body)


def last_word(
    connection: Connection,
    record: type[Feedback] | type[Comparison],
    key: tuple[str, str, str],
) -> Feedback | Comparison | None:
    """What was said last under a key (`vote_key`), if that waits."""
    ids, voter = (key[:1], key[1]) if record is Feedback else (key[:2], key[2])
    query = select(waiting).where(
        waiting.c.record == _NAMES[record],
        waiting.c.voter == voter,
        waiting.c.awaits.in_(ids),
    )
    for row in connection.execute(query.order_by(waiting.c.place.desc())):
        said = record.model_validate(row.body)
        if vote_key(said) == key:
            return said
    return None


def _record(vote: Feedback | Comparison) -> str:
    return _NAMES[type(vote)]


def _dated(row: Found[Any]) -> Feedback | Comparison:
    """The vote, given when it came and not when it became live."""
    vote = waiting_vote(row).vote
    return vote.model_copy(update={"created_at": vote.created_at or row.created_at})


def _count(connection: Connection, **changes: int) -> None:
    for name, change in changes.items():
        here = counter.c.name == name
        connection.execute(update(counter).where(here).values(value=counter.c.value + change))
