"""How far the spot checks are, what they say of the answers, and how far to believe reviewers.

Reads walk the reviews, which people make one by one, and of the larger tables what the sources of
the queue look at.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Select, func, select

from feedback_store.intervals import rate_interval
from feedback_store.reading.stats import times
from feedback_store.review.queue import midnight, of_source
from feedback_store.review.reviews import Reviews
from feedback_store.review.rules import ReviewRules
from feedback_store.review.sources import MOST, SOURCES, Look
from feedback_store.storage.database import Database
from feedback_store.storage.tables import reviews
from feedback_store.trust.krippendorff import alpha

_NEWEST = 5_000
"""Reviews that agreement is measured on."""


class SourceProgress(TypedDict):
    """Answers of one source: those that nobody has reviewed, and reviews."""

    waiting: int
    more: bool
    """Whether `waiting` is where the look ended and not how many there are."""
    today: int
    total: int


class ReviewerProgress(TypedDict):
    """What one reviewer did, by pseudonym."""

    voter: str
    today: int
    total: int


class Rate(TypedDict):
    """A share with its interval, None where there is nothing to count."""

    n: int
    rate: float | None
    low: float | None
    high: float | None


class Agreement(TypedDict):
    """Krippendorff's alpha on whether an answer will do, and the answers that two reviewed."""

    alpha: float | None
    answers: int


class Progress(TypedDict):
    """One project's spot checks; skipped answers don't count."""

    sources: dict[str, SourceProgress]
    reviewers: list[ReviewerProgress]
    agreement: Agreement
    accepted: Rate
    """Of the random answers: how many of all answers would do."""


class ReviewFigures(Reviews):
    """Figures over the reviews."""

    _database: Database
    _clock: Callable[[], datetime]

    def review_progress(
        self, project: str, rules: ReviewRules | None = None, draw: random.Random | None = None
    ) -> Progress:
        """Where a project's queue stands."""
        rules, now = rules or ReviewRules(), self._clock()
        look = Look(project, self.metrics, self.watermark(), draw or random.Random())
        today = times(reviews.c.created_at >= midnight(now))
        done = _of(project, reviews.c.voter, reviews.c.source, func.count(), today)
        with self._database.read() as connection:
            waiting = {
                source: len(of_source(connection, source, look, rules, None, now))
                for source in SOURCES
            }
            counts = connection.execute(done.group_by(reviews.c.voter, reviews.c.source)).all()
        by_voter: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        by_source: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for voter, source, total, new in counts:
            for sums in (by_voter[voter], by_source[source]):
                sums[0] += total
                sums[1] += new
        return {
            "sources": {
                source: {
                    "waiting": waiting.get(source, 0),
                    "more": waiting.get(source, 0) >= MOST,
                    "today": by_source[source][1],
                    "total": by_source[source][0],
                }
                for source in (*SOURCES, "gold")
            },
            "reviewers": [
                {"voter": voter, "today": new, "total": total}
                for voter, (total, new) in sorted(
                    by_voter.items(), key=lambda item: (-item[1][0], item[0])
                )
            ],
            "agreement": self._agreement(project),
            "accepted": self._accepted(project),
        }

    def gold_accuracy(self, project: str) -> dict[str, Rate]:
        """How often each reviewer (by pseudonym) was right where the right vote is known."""
        known = self.gold()
        query = _of(project, reviews.c.interaction, reviews.c.voter, reviews.c.verdict)
        right: dict[str, list[bool]] = defaultdict(list)
        with self._database.read() as connection:
            for row in connection.execute(query.where(reviews.c.source == "gold")):
                if row.interaction in known:
                    up = row.verdict == "accept"
                    right[row.voter].append(up == known[row.interaction])
        return {voter: _rate(sum(hits), len(hits)) for voter, hits in sorted(right.items())}

    def _agreement(self, project: str) -> Agreement:
        """On what two were asked; who is measured against known answers is measured elsewhere."""
        query = _of(project, reviews.c.interaction, reviews.c.verdict)
        query = query.where(reviews.c.source != "gold")
        query = query.order_by(reviews.c.seq.desc()).limit(_NEWEST)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        said = [(row.interaction, 1.0 if row.verdict == "accept" else -1.0) for row in rows]
        seen = Counter(interaction for interaction, _ in said)
        return {
            "alpha": alpha(said) if said else None,
            "answers": sum(count > 1 for count in seen.values()),
        }

    def _accepted(self, project: str) -> Rate:
        """Each answer's first review counts, so that those that two saw don't count twice."""
        first = func.min(reviews.c.seq)
        firsts = _of(project, first).where(reviews.c.source == "random")
        firsts = firsts.group_by(reviews.c.interaction)
        query = select(times(reviews.c.verdict == "accept"), func.count())
        with self._database.read() as connection:
            query = query.where(reviews.c.seq.in_(firsts))
            ups, total = connection.execute(query).one()
        return _rate(ups, total)


def _of(project: str, *columns: Any) -> Select[Any]:
    """Columns of a project's reviews but for skipped answers."""
    return select(*columns).where(reviews.c.project == project, reviews.c.verdict != "skip")


def _rate(ups: int, total: int) -> Rate:
    if not total:
        return {"n": 0, "rate": None, "low": None, "high": None}
    low, high = rate_interval(ups, total)
    return {"n": total, "rate": ups / total, "low": low, "high": high}
