"""Where answers for human spot checks come from; no look walks a table of interactions or votes.

random        people's recent answers, each as likely as the next, so many a day
disagreement  up and down votes on one answer, among the newest votes
compliance    answers that broke a rule of the screen
quarantine    answers whose votes are held back, by a person or by the last snapshot
"""

import random
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from feedback_store.metrics import Metrics
from feedback_store.reading.reads import FEEDBACK_KEY, is_live
from feedback_store.reading.stats import directions, times
from feedback_store.storage.tables import (
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
_CHUNK = 500


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
    ids = _reviewable(connection, look, interactions.c.seq.in_(drawn))
    if not ids and len(drawn) < len(numbers):
        # A project of few rows among many: its own that follow a number drawn blindly.
        own = select(interactions.c.seq).where(interactions.c.project == look.project)
        own = own.where(interactions.c.seq >= drawn[0]).order_by(interactions.c.seq).limit(MOST)
        seqs = connection.scalars(own).all()
        ids = _reviewable(connection, look, interactions.c.seq.in_(seqs)) if seqs else []
    return look.draw.sample(ids, len(ids))


def _disagreement(connection: Connection, look: Look) -> list[str]:
    up, down = map(times, directions(look.metrics))
    query = (
        select(feedback.c.interaction)
        .where(
            feedback.c.seq > look.upto - RECENT_VOTES,
            is_live(feedback, FEEDBACK_KEY, look.upto),
            ~feedback.c.simulated,
        )
        .group_by(feedback.c.interaction)
        .having(and_(up > 0, down > 0))
        .order_by(func.max(feedback.c.seq).desc())
        .limit(2 * MOST)
    )
    return _by_id(connection, look, connection.scalars(query))


def _compliance(connection: Connection, look: Look) -> list[str]:
    newest = select(interactions.c.seq).where(BLOCKED).order_by(interactions.c.seq.desc())
    seqs = connection.scalars(newest.limit(5 * MOST)).all()
    if not seqs:
        return []
    return _reviewable(connection, look, interactions.c.seq.in_(seqs), ended=False)[:MOST]


def _quarantine(connection: Connection, look: Look) -> list[str]:
    """By the last decisions of people, and by what the last snapshot held back by itself."""
    last = select(quarantine.c.vote, quarantine.c.held).order_by(quarantine.c.seq.desc())
    decided: dict[str, bool] = {}
    for row in connection.execute(last.limit(RECENT_DECISIONS)):
        decided.setdefault(row.vote, row.held)
    by_itself = select(held.c.vote).where(held.c.project == look.project).limit(RECENT_DECISIONS)
    votes = [vote for vote in connection.scalars(by_itself) if vote not in decided]
    votes += [vote for vote, is_held in decided.items() if is_held]
    ids: set[str] = set()
    for start in range(0, len(votes), _CHUNK):
        some = votes[start : start + _CHUNK]
        word = select(feedback.c.interaction).where(feedback.c.id.in_(some))
        ids.update(connection.scalars(word))
        for side in (comparisons.c.a, comparisons.c.b):
            ids.update(connection.scalars(select(side).where(comparisons.c.id.in_(some))))
    return _by_id(connection, look, ids)


_FINDERS: dict[str, Callable[[Connection, Look], list[str]]] = {
    "random": _random,
    "disagreement": _disagreement,
    "compliance": _compliance,
    "quarantine": _quarantine,
}


def _by_id(connection: Connection, look: Look, ids: Iterable[str]) -> list[str]:
    wanted = sorted(ids)
    found: list[str] = []
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        found += _reviewable(connection, look, interactions.c.id.in_(some))
    return found[:MOST]


def _reviewable(
    connection: Connection, look: Look, among: ColumnElement[bool], *, ended: bool = True
) -> list[str]:
    """Answers to people who let theirs be looked at, the newest first.

    A person who doesn't let an answer train has nobody read it either. `ended` asks for answers
    that came to an end of their own.
    """
    query = select(interactions.c.seq, interactions.c.id).where(
        among,
        of_project(look.project),
        ~interactions.c.simulated,
        interactions.c.consent,
        interactions.c.response != "",
    )
    if ended:
        end = interactions.c.finish_reason
        query = query.where(or_(end.is_(None), end.in_(("stop", "length"))))
    rows = sorted(connection.execute(query).all(), reverse=True)
    return [row.id for row in rows]


def of_project(project: str) -> ColumnElement[bool]:
    """Of no use to an index, so that the planner begins with keys and not with the project."""
    return func.coalesce(interactions.c.project, "") == project
