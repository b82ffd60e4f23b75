"""One person's conversations, newest first, and what they said of the answers in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, exists, select

from feedback_store.pseudonyms import Pseudonyms
from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY, is_live
from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, interactions

MOST_TURNS = 400
"""Answers of one conversation that are read back, the newest of a longer one."""


class Entry(NamedTuple):
    """A conversation by its last answer."""

    conversation: str
    seq: int
    """The last answer's number: where the next page begins."""
    title: str
    """The first thing that the person said, as it is stored."""
    at: datetime


class Conversations:
    """What a person finds again."""

    _database: Database
    _pseudonyms: Pseudonyms

    def conversations(
        self, user: str, project: str, *, before: int | None = None, most: int = 30
    ) -> list[Entry]:
        """A page of them by their last answers; the work grows with the page alone."""
        theirs = interactions.alias("theirs")
        later = interactions.alias("later")
        superseded = exists().where(
            later.c.conversation == theirs.c.conversation,
            later.c.user == theirs.c.user,
            later.c.seq > theirs.c.seq,
        )
        query = select(
            theirs.c.conversation, theirs.c.seq, theirs.c.messages, theirs.c.created_at
        ).where(theirs.c.user == self._pseudonyms.of(user), theirs.c.project == project)
        if before is not None:
            query = query.where(theirs.c.seq < before)
        query = query.where(~superseded).order_by(theirs.c.seq.desc()).limit(most)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Entry(row.conversation, row.seq, _title(row.messages), row.created_at) for row in rows
        ]

    def conversation(self, user: str, project: str, id: str) -> list[Interaction]:
        """A person's answers in one conversation, in the order in which they were given."""
        columns = [interactions.c[name] for name in Interaction.model_fields]
        query = select(*columns).where(
            interactions.c.conversation == id,
            interactions.c.user == self._pseudonyms.of(user),
            interactions.c.project == project,
        )
        query = query.order_by(interactions.c.seq.desc()).limit(MOST_TURNS)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Interaction.model_validate(row._asdict()) for row in reversed(rows)]

    def words_of(self, voter: str, answers: Sequence[str]) -> list[Feedback]:
        """What a voter says now of these answers."""
        columns = [feedback.c[name] for name in Feedback.model_fields]
        query = select(*columns).where(
            feedback.c.interaction.in_(answers),
            feedback.c.voter == self._pseudonyms.of(voter),
            is_live(feedback, FEEDBACK_KEY, _ALL),
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(feedback.c.seq)).all()
        return [Feedback.model_validate(row._asdict()) for row in rows]

    def choices_of(self, voter: str, answers: Sequence[str]) -> list[Comparison]:
        """What a voter chooses now between two of these answers."""
        columns = [comparisons.c[name] for name in Comparison.model_fields]
        query = select(*columns).where(
            and_(comparisons.c.a.in_(answers), comparisons.c.b.in_(answers)),
            comparisons.c.voter == self._pseudonyms.of(voter),
            is_live(comparisons, COMPARISON_KEY, _ALL),
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(comparisons.c.seq)).all()
        return [Comparison.model_validate(row._asdict()) for row in rows]


_ALL = 2**62


def _title(messages: list[dict[str, str]]) -> str:
    said = (m["content"] for m in messages if m["role"] == "user" and m["content"].strip())
    return " ".join(next(said, "").split())[:120]
