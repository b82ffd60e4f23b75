"""The store: votes in, appended and never changed; typed reads and the registry of policies."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from sqlalchemy import Connection

from feedback_store import redact as redaction
from feedback_store.api_keys import ApiKeys
from feedback_store.declarations import declare, declared
from feedback_store.freezes import Freezes
from feedback_store.keeping.backup import Backups
from feedback_store.keeping.erasure import Erasures
from feedback_store.keeping.retention import Retention
from feedback_store.limits import Limits
from feedback_store.metrics import Metrics
from feedback_store.migrations import sweep, upgrade
from feedback_store.pseudonyms import Pseudonyms, unlock
from feedback_store.reading.arms import Arms
from feedback_store.reading.breakdown import Breakdown
from feedback_store.reading.conversations import Conversations
from feedback_store.reading.figures import Figures
from feedback_store.reading.lookups import Lookups
from feedback_store.reading.new_rows import NewRows
from feedback_store.reading.stats import Counts
from feedback_store.registry import Registry
from feedback_store.review.figures import ReviewFigures
from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.storage.database import Database
from feedback_store.trust.ballot_box import BallotBox
from feedback_store.writing import appending
from feedback_store.writing.intake import Row, proper, refuse_the_future
from feedback_store.writing.requests import Request, request, said


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


class Store(
    Counts,
    Breakdown,
    Arms,
    Registry,
    ReviewFigures,
    Freezes,
    BallotBox,
    Retention,
    Backups,
    Lookups,
    Conversations,
    NewRows,
    Figures,
    Erasures,
    ApiKeys,
):
    """What users said, in one file (or a PostgreSQL database); safe to share between threads.

    Every write is one transaction: committed to disk when the call returns, without a trace when
    it raises. See `feedback_store.errors` for what it raises. People are known by pseudonyms: a
    plain id may be given anywhere, and none is ever written or read back.
    """

    def __init__(
        self,
        database: Database,
        pseudonyms: Pseudonyms,
        metrics: Metrics,
        *,
        limits: Limits | None = None,
        redact: Callable[[str], str] = redaction.redact,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._pseudonyms = pseudonyms
        self.metrics = metrics
        self.limits = limits or Limits()
        self._writes = database.group_commit(_carry_out)
        self._redact = redact
        self._clock = clock

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        metrics: Metrics | None = None,
        limits: Limits | None = None,
        redact: Callable[[str], str] = redaction.redact,
        clock: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Open a store by path or URL; a new one is made, an older one is brought up to date.

        `metrics` are declared for it from now on; without any, the last declaration holds.
        """
        database = Database(where)
        try:
            with database.write() as connection:
                upgrade(connection, database.name)
                pseudonyms = unlock(connection, database.name)
                known = declare(connection, metrics) if metrics else declared(connection)
                sweep(connection)
        except BaseException:
            database.close()
            raise
        return cls(database, pseudonyms, known, limits=limits, redact=redact, clock=clock)

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
        wait: bool = False,
        idempotency_key: str | None = None,
    ) -> int:
        """Store all of it or nothing, redacted; returns the watermark that covers what is live.

        A row that is already stored under its id is skipped (`Conflict` if it says something
        else). A vote on an unknown interaction is `NotFound`, or with `wait` is kept on disk and
        becomes live when the interaction is stored. The same rows under the same
        `idempotency_key` get the same answer and write nothing; other rows are a `Conflict`.
        """
        now = self._clock()
        batch = appending.Batch(
            [self._proper(row, now) for row in interactions],
            [self._proper(word, now) for word in feedback],
            [self._proper(choice, now) for choice in comparisons],
            wait=wait,
        )
        body: list[object] = ["append"]
        if idempotency_key is not None:
            names = self._pseudonyms
            body.append(
                [said(interactions, names), said(feedback, names), said(comparisons, names)]
            )
        return self._write(batch, self._request(idempotency_key, body), now)

    def withdraw(
        self, interaction: str, voter: str, metric: str, *, idempotency_key: str | None = None
    ) -> int:
        """Take a vote back; a tombstone remains, so that older watermarks stay what they were.

        A vote that still waits for its interaction is followed by a tombstone that waits.
        """
        now = self._clock()
        key = (interaction, self._pseudonyms.of(voter), metric)
        return self._write(
            lambda connection: appending.withdraw(connection, Feedback, key, self.limits, now),
            self._request(idempotency_key, ["withdraw", *key]),
            now,
        )

    def withdraw_comparison(
        self, a: str, b: str, voter: str, *, idempotency_key: str | None = None
    ) -> int:
        """Take a choice back, whichever way round the two are named."""
        now = self._clock()
        key = (min(a, b), max(a, b), self._pseudonyms.of(voter))
        return self._write(
            lambda connection: appending.withdraw(connection, Comparison, key, self.limits, now),
            self._request(idempotency_key, ["withdraw_comparison", *key]),
            now,
        )

    def _proper(self, row: Row, now: datetime) -> Row:
        refuse_the_future(row, self.limits, now)
        if isinstance(row, Feedback):
            self.metrics.check(row)
        return proper(row, self._pseudonyms, self._redact, self.limits, now)

    def _request(self, key: str | None, body: object) -> Request | None:
        return None if key is None else request(self._pseudonyms, key, body)

    def _write(
        self,
        work: appending.Batch | Callable[[Connection], int],
        request: Request | None,
        now: datetime,
    ) -> int:
        """Work in a write transaction, once for a request however often it comes."""
        rows = len(work) if isinstance(work, appending.Batch) else 1
        return self._writes.submit(_Write(work, request, self.limits, now), rows)


class _Write(NamedTuple):
    """What one caller wants done."""

    work: appending.Batch | Callable[[Connection], int]
    request: Request | None
    limits: Limits
    now: datetime


def _carry_out(connection: Connection, writes: Sequence[_Write]) -> list[int]:
    """Several callers' work in one transaction; batches alone go in as if they were one.

    The answer is then the watermark that covers them all.
    """
    batches = [w.work for w in writes if isinstance(w.work, appending.Batch) and not w.request]
    if len(batches) == len(writes) and len({batch.wait for batch in batches}) == 1:
        now = max(write.now for write in writes)
        joined = appending.joined(batches)
        return [appending.append(connection, joined, writes[0].limits, now)] * len(writes)
    return [_carry_out_alone(connection, write) for write in writes]


def _carry_out_alone(connection: Connection, write: _Write) -> int:
    def work(connection: Connection) -> int:
        if isinstance(write.work, appending.Batch):
            return appending.append(connection, write.work, write.limits, write.now)
        return write.work(connection)

    if write.request is None:
        return work(connection)
    return appending.once(connection, work, write.request, write.limits, write.now)
