"""The store: votes in, appended and never changed; typed reads and the registry of policies."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from feedback_store import redact as redaction
from feedback_store.database import Database
from feedback_store.erasure import Erasures
from feedback_store.errors import Refused
from feedback_store.lookups import Lookups
from feedback_store.migrations import upgrade
from feedback_store.registry import Registry
from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.stats import Counts
from feedback_store.tables import comparisons as comparison_table
from feedback_store.tables import feedback as feedback_table
from feedback_store.tables import interactions as interaction_table
from feedback_store.writing import (
    insert_rows,
    known_projects,
    redacted,
    revised,
    take_turn,
    unknown,
)

# An import may bring its own times; one ahead of the clock would age all other rows.
_CLOCK_SKEW = timedelta(minutes=5)


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


class Store(Counts, Registry, Lookups, Erasures):
    """What users said, in one file (or a PostgreSQL database); safe to share between threads.

    Every write is one transaction: committed to disk when the call returns, without a trace when
    it raises. See `feedback_store.errors` for what it raises.
    """

    def __init__(
        self,
        database: Database,
        *,
        redact: Callable[[str], str] = redaction.redact,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._redact = redact
        self._clock = clock

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        redact: Callable[[str], str] = redaction.redact,
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Open a store by path or URL; a new one is made, an older one is brought up to date."""
        database = Database(where)
        try:
            with database.write() as connection:
                upgrade(connection, database.name)
        except BaseException:
            database.close()
            raise
        return cls(database, redact=redact, clock=clock)

    @property
    def name(self) -> str:
        """The file, or the database's URL without its password."""
        return self._database.name

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def append(
        self,
        *,
        interactions: Sequence[Interaction] = (),
        feedback: Sequence[Feedback] = (),
        comparisons: Sequence[Comparison] = (),
    ) -> int:
        """Store all of it or nothing, redacted; returns the watermark that covers it.

        A row that is already stored under its id is skipped (`Conflict` if it says something
        else); a vote on an unknown interaction is `NotFound`.
        """
        now = self._clock()
        _refuse_the_future((*interactions, *feedback, *comparisons), now)
        answers = [redacted(row, self._redact) for row in interactions]
        words = [redacted(row, self._redact) for row in feedback]
        with self._database.write() as connection:
            seq = take_turn(connection)
            fresh = unknown(connection, interaction_table, answers)
            seq = insert_rows(connection, interaction_table, fresh, seq, now)
            seq = _append_feedback(connection, words, seq, now)
            return _append_comparisons(connection, comparisons, seq, now)

    def withdraw(self, interaction: str, voter: str, metric: str) -> None:
        """Take a vote back; a tombstone remains, so that older watermarks stay what they were."""
        live = self.live_feedback(interaction, voter, metric)
        tombstone = Feedback(
            interaction=interaction,
            voter=voter,
            metric=metric,
            kind=live.kind,
            simulated=live.simulated,
            solicited=live.solicited,
            withdrawn=True,
        )
        self.append(feedback=[tombstone])

    def withdraw_comparison(self, a: str, b: str, voter: str) -> None:
        """Take a choice back, whichever way round the two are named."""
        live = self.live_comparison(a, b, voter)
        tombstone = Comparison(
            project=live.project,
            a=live.a,
            b=live.b,
            voter=voter,
            choice=live.choice,
            simulated=live.simulated,
            solicited=live.solicited,
            withdrawn=True,
        )
        self.append(comparisons=[tombstone])


def _refuse_the_future(rows: Sequence[Interaction | Feedback | Comparison], now: datetime) -> None:
    for row in rows:
        if row.created_at and row.created_at > now + _CLOCK_SKEW:
            raise Refused(f"{row.id}: created_at {row.created_at} lies in the future")


def _append_feedback(
    connection: Connection, rows: Sequence[Feedback], seq: int, now: datetime
) -> int:
    fresh = unknown(connection, feedback_table, rows)
    known_projects(connection, (row.interaction for row in fresh))
    return insert_rows(connection, feedback_table, revised(connection, fresh), seq, now)


def _append_comparisons(
    connection: Connection, rows: Sequence[Comparison], seq: int, now: datetime
) -> int:
    fresh = unknown(connection, comparison_table, rows)
    projects = known_projects(connection, (id for row in fresh for id in row.pair))
    for row in fresh:
        for id in row.pair:
            if projects[id] != row.project:
                raise Refused(
                    f"comparison {row.id} is of project {row.project}, but interaction {id} "
                    f"is of project {projects[id]}"
                )
    return insert_rows(connection, comparison_table, revised(connection, fresh), seq, now)
