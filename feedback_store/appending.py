"""What a call on the store does inside a write transaction: it takes its turn, then appends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from feedback_store import waiting
from feedback_store.errors import NotFound
from feedback_store.limits import Limits
from feedback_store.reads import last_comparison, last_feedback
from feedback_store.requests import Request, answered, remember
from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.tables import comparisons, feedback, interactions
from feedback_store.writing import (
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
    connection: Connection, key: tuple[str, str, str], limits: Limits, now: datetime
) -> int:
    """Append a tombstone to a live vote, or to one that waits; `NotFound` where there is none."""
    turn = _turn(connection, limits, now)
    interaction, voter, metric = key
    last = last_feedback(connection, *key)
    if last is None and turn.waiting:
        # Only the key matters here.
        like = Feedback(interaction=interaction, voter=voter, metric=metric, kind="thumb", value=1)
        last = waiting.last_word(connection, like)
    if last is None or last.withdrawn:
        raise NotFound(f"no live {metric} of this voter on interaction {interaction}")
    tombstone = Feedback(
        interaction=interaction,
        voter=voter,
        metric=metric,
        kind=last.kind,
        simulated=last.simulated,
        solicited=last.solicited,
        withdrawn=True,
    )
    return _append_votes(connection, [tombstone], True, turn, limits, now).seq


def withdraw_comparison(
    connection: Connection, key: tuple[str, str, str], limits: Limits, now: datetime
) -> int:
    """Append a tombstone to a live choice, or to one that waits; `NotFound` where there is none."""
    turn = _turn(connection, limits, now)
    low, high, voter = key
    last = last_comparison(connection, *key)
    if last is None and turn.waiting:
        like = Comparison(a=low, b=high, voter=voter, choice="tie")
        last = waiting.last_word(connection, like)
    if last is None or last.withdrawn:
        raise NotFound(f"no live comparison of this voter between {low} and {high}")
    tombstone = Comparison(
        project=last.project,
        a=last.a,
        b=last.b,
        voter=voter,
        choice=last.choice,
        simulated=last.simulated,
        solicited=last.solicited,
        withdrawn=True,
    )
    return _append_votes(connection, [tombstone], True, turn, limits, now).seq


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
