"""The store's rows as plain tuples, page by page, for those who pass over all of them.

What was validated when it was written is not validated again: a record a row would take most of
the time of a snapshot. For the same reason the interaction that a vote speaks of is found in a dict
and not by the database, and superseded votes by looking from the few revisions back.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Literal, NamedTuple

from sqlalchemy import Column, Select, Table, Text, bindparam, cast, func, select

from feedback_store.metrics import Metrics
from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY, PAGE
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, interactions

# So many texts of any length fit into memory.
_PAGE_OF_TEXTS = 250


class AnswerRow(NamedTuple):
    """An interaction, as far as a data set needs it."""

    seq: int
    id: str
    messages: str
    """As the JSON that it is stored as: many have the same, and few need to be parsed."""
    response: str
    style: str | None
    conversation: str
    intent: str | None
    policy: str | None
    finish_reason: str | None
    simulated: bool
    consent: bool
    created_at: datetime


class FeedbackRow(NamedTuple):
    """A live vote."""

    seq: int
    answer: int
    """The interaction's `seq`."""
    id: str
    voter: str
    metric: str
    kind: str
    value: float | None
    text: str | None
    simulated: bool
    created_at: datetime


class ComparisonRow(NamedTuple):
    """A live choice."""

    seq: int
    a: int | None
    """The interaction's `seq`; None where it isn't stored."""
    b: int | None
    id: str
    voter: str
    choice: Literal["a", "b", "tie", "both_bad"]
    shown_first: Literal["a", "b"] | None
    simulated: bool
    created_at: datetime


class Streams:
    """One project's rows as of a watermark, in the order they were stored.

    The votes on it are those on `answers`: its interactions' ids, with each one's `seq`.
    """

    _database: Database
    metrics: Metrics

    def answer_rows(self, project: str, upto: int) -> Iterator[AnswerRow]:
        """Interactions."""
        i = interactions.c
        style = func.coalesce(i.style_used, i.style_asked)
        columns = (cast(i.messages, Text), i.response, style, i.conversation, i.intent, i.policy)
        about = (i.finish_reason, i.simulated, i.consent, i.created_at)
        query = select(i.seq, i.id, *columns, *about).where(i.project == project)
        return (AnswerRow._make(row) for row in self._along(query, interactions, upto))

    def feedback_rows(self, answers: Mapping[str, int], upto: int) -> Iterator[FeedbackRow]:
        """Votes that stand as of the watermark."""
        f = feedback.c
        said = (f.id, f.voter, f.metric, f.kind, f.value, f.text, f.simulated, f.created_at)
        query = select(f.seq, f.interaction, *said).where(~f.withdrawn)
        superseded = self._superseded(feedback, FEEDBACK_KEY, upto)
        for seq, interaction, *rest in self._along(query, feedback, upto):
            answer = answers.get(interaction)
            if answer is not None and not superseded[seq]:
                yield FeedbackRow(seq, answer, *rest)

    def comparison_rows(
        self, project: str, answers: Mapping[str, int], upto: int
    ) -> Iterator[ComparisonRow]:
        """Choices that stand as of the watermark."""
        c = comparisons.c
        said = (c.id, c.voter, c.choice, c.shown_first, c.simulated, c.created_at)
        query = select(c.seq, c.a, c.b, *said).where(c.project == project, ~c.withdrawn)
        superseded = self._superseded(comparisons, COMPARISON_KEY, upto)
        for seq, a, b, *rest in self._along(query, comparisons, upto):
            if not superseded[seq]:
                yield ComparisonRow(seq, answers.get(a), answers.get(b), *rest)

    def responses(self, project: str, upto: int) -> Iterator[tuple[int, str]]:
        """Each consented interaction's `seq` and response."""
        i = interactions.c
        query = select(i.seq, i.response).where(i.project == project, i.consent)
        return ((seq, response) for seq, response in self._along(query, interactions, upto))

    def responses_of(self, answers: Iterable[int]) -> Iterator[tuple[int, str]]:
        """The responses of interactions, by `seq`, as far as they are stored."""
        return self._named(interactions, interactions.c.response, answers)

    def texts_of(self, votes: Iterable[int]) -> Iterator[tuple[int, str]]:
        """The texts of corrections and comments, by `seq`, as far as they are stored."""
        return self._named(feedback, feedback.c.text, votes)

    def _along(self, query: Select[Any], table: Table, upto: int) -> Iterator[Any]:
        """Every row up to the watermark; no view of the database stays open between pages."""
        beyond = table.c.seq > bindparam("after")
        query = query.where(beyond, table.c.seq <= upto).order_by(table.c.seq).limit(PAGE)
        after = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query, {"after": after}).all()
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1].seq

    def _superseded(self, table: Table, key: tuple[str, ...], upto: int) -> bytearray:
        """By `seq`, 1 for every row that a later one up to the watermark takes the place of.

        Each revision marks the one before it, so that a chain of any length is marked link by link.
        """
        before = table.alias("before")
        same = (before.c[name] == table.c[name] for name in key)
        last = select(before.c.seq).where(*same, before.c.revision < table.c.revision)
        last = last.order_by(before.c.revision.desc()).limit(1)
        query = select(table.c.seq, last.scalar_subquery()).where(table.c.revision > 1)
        marks = bytearray(upto + 1)
        for _, seq in self._along(query, table, upto):
            if seq is not None:
                marks[seq] = 1
        return marks

    def _named(
        self, table: Table, column: Column[Any], seqs: Iterable[int]
    ) -> Iterator[tuple[int, str]]:
        left = iter(seqs)
        while page := list(islice(left, _PAGE_OF_TEXTS)):
            query = select(table.c.seq, column).where(table.c.seq.in_(page))
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            yield from ((seq, text) for seq, text in rows)
