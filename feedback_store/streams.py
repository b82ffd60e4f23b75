"""The store's rows as plain tuples, page by page, for those who pass over all of them.

What was validated when it was written is not validated again: a record a row would take most of
the time of a snapshot. The interaction that a vote speaks of is found by a scalar query and not by
a join, so that the planner has no choice but to go along the votes in their order.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Column, ScalarSelect, Select, Table, bindparam, func, select

from feedback_store.database import Database
from feedback_store.metrics import Metrics
from feedback_store.reads import COMPARISON_KEY, FEEDBACK_KEY, PAGE, is_live
from feedback_store.tables import comparisons, feedback, interactions


class AnswerRow(NamedTuple):
    """An interaction, as far as a data set needs it."""

    seq: int
    messages: list[dict[str, str]]
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
    """One project's rows as of a watermark, in the order they were stored."""

    _database: Database
    metrics: Metrics

    def answer_rows(self, project: str, upto: int) -> Iterator[AnswerRow]:
        """Interactions."""
        i = interactions.c
        style = func.coalesce(i.style_used, i.style_asked)
        columns = (i.messages, i.response, style, i.conversation, i.intent, i.policy)
        about = (i.finish_reason, i.simulated, i.consent, i.created_at)
        query = select(i.seq, *columns, *about).where(i.project == project)
        return (AnswerRow._make(row) for row in self._along(query, interactions, upto))

    def feedback_rows(self, project: str, upto: int) -> Iterator[FeedbackRow]:
        """Votes that stand as of the watermark, on interactions that are stored by then."""
        f = feedback.c
        answer = _seq_of(f.interaction, project, upto).label("answer")
        said = (f.id, f.voter, f.metric, f.kind, f.value, f.text, f.simulated, f.created_at)
        query = select(f.seq, answer, *said).where(is_live(feedback, FEEDBACK_KEY, upto))
        for row in self._along(query, feedback, upto):
            if row.answer is not None:
                yield FeedbackRow._make(row)

    def comparison_rows(self, project: str, upto: int) -> Iterator[ComparisonRow]:
        """Choices that stand as of the watermark."""
        c = comparisons.c
        sides = (_seq_of(side, project, upto).label(side.name) for side in (c.a, c.b))
        said = (c.id, c.voter, c.choice, c.shown_first, c.simulated, c.created_at)
        query = select(c.seq, *sides, *said).where(
            c.project == project, is_live(comparisons, COMPARISON_KEY, upto)
        )
        return (ComparisonRow._make(row) for row in self._along(query, comparisons, upto))

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


def _seq_of(id: Column[Any], project: str, upto: int) -> ScalarSelect[Any]:
    found = select(interactions.c.seq).where(
        interactions.c.id == id, interactions.c.project == project, interactions.c.seq <= upto
    )
    return found.correlate(id.table).scalar_subquery()
