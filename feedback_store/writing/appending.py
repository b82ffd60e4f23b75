"""What a call on the store does inside a write transaction: it takes its turn, then appends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from feedback_store.errors import NotFound
from feedback_store.limits import Limits
from feedback_store.reading.reads import last_comparison, last_feedback
from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.storage.tables import comparisons, feedback, interactions
from feedback_store.writing import waiting
from feedback_store.writing.requests import Request, answered, remember
from feedback_store.writing.rows import (
    Turn,
    Vote,
    insert_rows,
    insert_votes,
    missing,
    projects_of,
    take_turn,
    unknown,
)


@dataclass(frozen=True)
class Batch:
    """Rows to store together, redacted and under pseudonyms."""

    interactions: Sequence[Interaction] = ()
    feedback: Sequence[Feedback] = ()
    comparisons: Sequence[Comparison] = ()
    wait: bool = False
    """Whether votes that are early wait; they are refused otherwise."""

    def __len__(self) -> int:
        return len(self.interactions) + len(self.feedback) + len(self.comparisons)


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches that agree about waiting, as one."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        [row for batch in batches for row in batch.interactions],
        [row for batch in batches for row in batch.feedback],
        [row for batch in batches for row in batch.comparisons],
        wait=batches[0].wait,
    )


def append(connection: Connection, batch: Batch, limits: Limits, now: datetime) -> int:
    """Store the batch and what waited for it; returns the last number given."""
    turn = _turn(connection, limits, now)
    fresh = unknown(connection, interactions, batch.interactions)
    seq = insert_rows(connection, interactions, fresh, turn.seq, now)
    if turn.waiting and fresh:
        seq = waiting.admit(connection, [row.id for row in fresh], seq, now)
    turn = turn._replace(seq=seq)
    turn = _append_votes(connection, batch.feedback, batch.wait, turn, limits, now)
    return _append_votes(connection, batch.comparisons, batch.wait, turn, limits, now).seq


def _append_votes(
    connection: Connection,
    votes: Sequence[Vote],
    wait: bool,
    turn: Turn,
    limits: Limits,
    now: datetime,
) -> Turn:
    if not votes:
        return turn
    table = feedback if isinstance(votes[0], Feedback) else comparisons
    early = waiting.early(connection, votes) if turn.waiting else ()
    fresh = unknown(connection, table, votes, early)
    projects = projects_of(connection, fresh)
    if wait:
        put_off = [vote for vote in fresh if missing(vote, projects)]
        waiting.put(connection, put_off, projects, limits, now)
        turn = turn._replace(waiting=turn.waiting + len(put_off))
        fresh = [vote for vote in fresh if not missing(vote, projects)]
    return turn._replace(seq=insert_votes(connection, fresh, projects, turn.seq, now))


def withdraw(
    connection: Connection,
    record: type[Feedback] | type[Comparison],
    key: tuple[str, str, str],
    limits: Limits,
    now: datetime,
) -> int:
    """Append a tombstone to what is live under a key (`vote_key`), or to what waits.

    `NotFound` where there is neither.
    """
    turn = _turn(connection, limits, now)
    last = (last_feedback if record is Feedback else last_comparison)(connection, *key)
    if last is None and turn.waiting:
        last = waiting.last_word(connection, record, key)
    if last is None or last.withdrawn:
        raise NotFound(f"no live {_told(record, key)}")
    tombstone: Any = record.model_validate(last.model_dump(include=_STAYS) | {"withdrawn": True})
    return _append_votes(connection, [tombstone], True, turn, limits, now).seq


# What a tombstone has of the word that it stands on; its id and its time are its own.
_STAYS = {"interaction", "metric", "kind", "project", "a", "b", "choice", "voter"}
_STAYS |= {"simulated", "solicited"}


def _told(record: type[Feedback] | type[Comparison], key: tuple[str, str, str]) -> str:
    if record is Feedback:
        interaction, _, metric = key
        return f"{metric} of this voter on interaction {interaction}"
    low, high, _ = key
    return f"comparison of this voter between {low} and {high}"


def once(
    connection: Connection,
    work: Callable[[Connection], int],
    request: Request,
    limits: Limits,
    now: datetime,
) -> int:
    """The answer to a request, worked out the first time and remembered."""
    take_turn(connection)
    answer = answered(connection, request, now - limits.request_age)
    if answer is None:
        answer = work(connection)
        remember(connection, request, answer, now)
    return answer


def _turn(connection: Connection, limits: Limits, now: datetime) -> Turn:
    turn = take_turn(connection)
    if not turn.waiting:
        return turn
    return turn._replace(waiting=waiting.expire(connection, now - limits.waiting_age))
