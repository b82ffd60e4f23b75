"""Where answers for human spot checks come from; no look walks a table of interactions or votes.

random        people's recent answers, each as likely as the next, so many a day
disagreement  up and down votes on one answer, among the newest votes
compliance    answers that broke a rule of the screen
quarantine    answers whose votes are held back, by a person or by the last snapshot
"""

import random
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from feedback_store.metrics import Metrics
from feedback_store.reads import FEEDBACK_KEY, is_live
from feedback_store.stats import directions, times
from feedback_store.tables import (
    BLOCKED,
    comparisons,
    feedback,
    held,
    interactions,
    quarantine,
)

Source = Literal["random", "disagreement", "compliance", "quarantine", "gold"]
SOURCES: tuple[Source, ...] = ("random", "disagreement", "compliance", "quarantine")
"""Those that somebody waits for; gold is slipped in among them."""

MOST = 200
"""Answers of one source that are looked at together."""
DRAWN = 500
"""Numbers of rows that are drawn at once for random answers."""
RECENT_ROWS = 100_000
"""A random answer is one of so many of the newest rows of the store."""
RECENT_VOTES = 10_000
"""Disagreement is looked for among so many of the newest rows."""
RECENT_DECISIONS = 1_000


class Look(NamedTuple):
    """What a source needs to know."""

    project: str
    metrics: Metrics
    upto: int
    """The store's watermark."""
    draw: random.Random


def found(connection: Connection, source: Source, look: Look) -> list[str]:
    """Ids of answers that a source offers, in the order in which they are to be reviewed."""
    return _FINDERS[source](connection, look)


def _random(connection: Connection, look: Look) -> list[str]:
    """Numbers drawn blindly: those that are an answer's are each as likely as the next."""
    first = max(1, look.upto - RECENT_ROWS + 1)
    numbers = range(first, look.upto + 1)
    drawn = look.draw.sample(numbers, min(DRAWN, len(numbers)))
    query = _reviewable(look).where(interactions.c.seq.in_(drawn))
    ids = sorted(row.id for row in connection.execute(query))
    if not ids and len(drawn) < len(numbers):
        # A project of few rows among many: its own that follow a number drawn blindly.
        own = select(interactions.c.seq).where(interactions.c.project == look.project)
        own = own.where(interactions.c.seq >= drawn[0]).order_by(interactions.c.seq).limit(MOST)
        ids = sorted(row.id for row in connection.execute(_reviewable(look, own)))
    return look.draw.sample(ids, len(ids))


def _disagreement(connection: Connection, look: Look) -> list[str]:
    up, down = map(times, directions(look.metrics))
    votes = (
        select(feedback.c.interaction.label("id"))
        .where(
            feedback.c.seq > look.upto - RECENT_VOTES,
            is_live(feedback, FEEDBACK_KEY, look.upto),
            ~feedback.c.simulated,
        )
        .group_by(feedback.c.interaction)
        .having(and_(up > 0, down > 0))
        .subquery()
    )
    query = _reviewable(look).join(votes, votes.c.id == interactions.c.id)
    return _newest(connection, query)


def _compliance(connection: Connection, look: Look) -> list[str]:
    flagged = select(interactions.c.seq).where(BLOCKED).order_by(interactions.c.seq.desc())
    return _newest(connection, _reviewable(look, flagged.limit(5 * MOST), answered=False))


def _quarantine(connection: Connection, look: Look) -> list[str]:
    """By the last decisions of people, and by what the last snapshot held back by itself."""
    last = select(quarantine.c.seq, quarantine.c.vote, quarantine.c.held)
    rows = connection.execute(last.order_by(quarantine.c.seq.desc()).limit(RECENT_DECISIONS))
    decided: dict[str, bool] = {}
    for row in rows:
        decided.setdefault(row.vote, row.held)
    by_itself = select(held.c.vote).where(held.c.project == look.project).limit(RECENT_DECISIONS)
    votes = [vote for vote in connection.scalars(by_itself) if vote not in decided]
    votes += [vote for vote, is_held in decided.items() if is_held]
    ids: set[str] = set()
    for start in range(0, len(votes), 500):
        some = votes[start : start + 500]
        word = select(feedback.c.interaction).where(feedback.c.id.in_(some))
        ids.update(connection.scalars(word))
        for side in (comparisons.c.a, comparisons.c.b):
            ids.update(connection.scalars(select(side).where(comparisons.c.id.in_(some))))
    query = _reviewable(look).where(interactions.c.id.in_(sorted(ids)[: 2 * MOST]))
    return _newest(connection, query)


_FINDERS: dict[str, Callable[[Connection, Look], list[str]]] = {
    "random": _random,
    "disagreement": _disagreement,
    "compliance": _compliance,
    "quarantine": _quarantine,
}


def _newest(connection: Connection, query: Select[Any]) -> list[str]:
    query = query.order_by(interactions.c.seq.desc()).limit(MOST)
    return [row.id for row in connection.execute(query)]


def _reviewable(
    look: Look, among: Select[Any] | None = None, *, answered: bool = True
) -> Select[Any]:
    """Answers to people who let theirs be looked at; `answered` asks for one that came to an end.

    A person who doesn't let an answer train has nobody read it either.
    """
    query = select(interactions.c.id).where(
        interactions.c.project == look.project,
        ~interactions.c.simulated,
        interactions.c.consent,
        interactions.c.response != "",
    )
    if answered:
        query = query.where(_ended())
    return query if among is None else query.where(interactions.c.seq.in_(among))


def _ended() -> ColumnElement[bool]:
    end = interactions.c.finish_reason
    return or_(end.is_(None), end.in_(("stop", "length")))
