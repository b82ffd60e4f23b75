"""Human spot checks: who has which answer before him, and what he says of it.

A reviewer reserves an answer for some minutes, so that no other gets it; his verdict ends that and
is a vote beside everybody's. Some answers are asked of two, to see how far reviewers agree, and
some have a known right vote, which nobody is told.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from feedback_store.errors import Conflict
from feedback_store.fields import Id, Record, Utc
from feedback_store.limits import Limits
from feedback_store.metrics import Metrics
from feedback_store.pseudonyms import Pseudonyms
from feedback_store.quarantine import count_on
from feedback_store.reading.reads import last_feedback
from feedback_store.reading.standing import Standing, StandingVotes
from feedback_store.review import queue as review_queue
from feedback_store.review.queue import Offer, Reservation
from feedback_store.review.rules import ReviewRules
from feedback_store.review.sources import MOST, Look, Source, of_project
from feedback_store.review.verdicts import Verdict, words_of
from feedback_store.schema import Feedback
from feedback_store.storage.database import Database
from feedback_store.storage.tables import feedback, interactions, reservations, reviews
from feedback_store.writing import appending
from feedback_store.writing.intake import proper
from feedback_store.writing.rows import take_turn

_ATTEMPTS = 3
_FORGOTTEN = timedelta(days=1)
"""So long an expired reservation is kept for its reviewer, while nobody else takes it."""


class Review(Record):
    """What a reviewer said of an answer, and why it was in the queue."""

    seq: int
    project: str
    interaction: Id
    voter: Id
    verdict: Verdict
    reason: str
    source: Source
    created_at: Utc


class Reviews(StandingVotes):
    """Reservations and verdicts are decided under the writers' lock, so that nobody is second."""

    _database: Database
    _clock: Callable[[], datetime]
    _pseudonyms: Pseudonyms
    _redact: Callable[[str], str]
    limits: Limits
    metrics: Metrics

    def next_for(
        self,
        voter: str,
        project: str = "default",
        rules: ReviewRules | None = None,
        draw: random.Random | None = None,
    ) -> Reservation | None:
        """Reserve an answer; the one that this reviewer has already, if any, for longer.

        None when nothing waits. Nobody gets an answer that he has seen, that another has before
        him, or that was reviewed as often as it should be.
        """
        rules, draw = rules or ReviewRules(), draw or random.Random()
        voter = self._pseudonyms.of(voter)
        for _ in range(_ATTEMPTS):
            offers = self._offers(voter, project, rules, draw)
            if not offers:
                return None
            if (got := self._reserve(voter, project, offers, rules)) is not None:
                return got
        return None

    def renew(self, voter: str, interaction: str, minutes: float = 10.0) -> Reservation:
        """Have it for longer; `Conflict` when somebody else has it by now."""
        voter = self._pseudonyms.of(voter)
        with self._database.write() as connection:
            offer = Offer(interaction, _source(connection, voter, interaction))
            return review_queue.reserve(connection, voter, offer, minutes, self._clock())

    def give_back(self, voter: str, interaction: str) -> None:
        """Let others have it; without a reservation nothing happens."""
        mine = reservations.c.voter == self._pseudonyms.of(voter)
        here = reservations.c.interaction == interaction
        with self._database.write() as connection:
            connection.execute(delete(reservations).where(here, mine))

    def review(
        self,
        voter: str,
        interaction: str,
        verdict: Verdict,
        *,
        reasons: Sequence[str] = (),
        text: str | None = None,
    ) -> Review:
        """Write a verdict with its votes, and end the reservation: all of it or nothing.

        Said again it is the same review; another word on the same answer is a `Conflict`, as is
        one without a reservation (one that has expired does, until somebody takes the answer).
        `text` is a correction's.
        """
        now = self._clock()
        said = words_of(self.metrics, interaction, voter, verdict, reasons=reasons, text=text)
        words = [self._ready(word, now) for word in said]
        voter = self._pseudonyms.of(voter)
        reason = "; ".join(self._redact(reason) for reason in reasons)
        with self._database.write() as connection:
            seq = take_turn(connection).seq + 1
            if (known := _own_review(connection, voter, interaction)) is not None:
                if (known.verdict, known.reason) == (verdict, reason) and all(
                    _stands(connection, word) for word in words
                ):
                    return known
                raise Conflict("you have reviewed this answer already")
            done = Review(
                seq=seq,
                project=_project(connection, interaction),
                interaction=interaction,
                voter=voter,
                verdict=verdict,
                reason=reason,
                source=_source(connection, voter, interaction),
                created_at=now,
            )
            # The review's number comes first, so that no watermark has its votes without it.
            connection.execute(insert(reviews).values(**done.model_dump()))
            count_on(connection, seq)
            appending.append(connection, appending.Batch(feedback=words), self.limits, now)
            over = reservations.c.interaction == interaction
            connection.execute(delete(reservations).where(over))
        return done

    def judge_votes(
        self, voter: str, interaction: str, *, hold: bool, reason: str
    ) -> list[Standing]:
        """Hold back all that others say of an answer, or let go what of it is held.

        For who has it reserved; returns the votes that this decided on.
        """
        with self._database.read() as connection:
            _source(connection, self._pseudonyms.of(voter), interaction)
        chosen = [vote for vote in self.standing(interaction) if hold == (vote.held is None)]
        (self.quarantine if hold else self.release)([vote.id for vote in chosen], reason)
        return chosen

    def reviews_of(self, interaction: str) -> list[Review]:
        """All reviews of an answer, oldest first."""
        query = select(reviews).where(reviews.c.interaction == interaction).order_by(reviews.c.seq)
        with self._database.read() as connection:
            return [Review.model_validate(row._asdict()) for row in connection.execute(query)]

    def reviewed(self, upto: int) -> set[int]:
        """The numbers of the votes that are reviewers' verdicts, as of a watermark."""
        about = (reviews.c.interaction == feedback.c.interaction) & (
            reviews.c.voter == feedback.c.voter
        )
        query = select(feedback.c.seq).select_from(reviews).join(feedback, about)
        query = query.where(reviews.c.seq <= upto, feedback.c.seq <= upto)
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def _ready(self, word: Feedback, now: datetime) -> Feedback:
        self.metrics.check(word)
        return proper(word, self._pseudonyms, self._redact, self.limits, now)

    def _offers(
        self, voter: str, project: str, rules: ReviewRules, draw: random.Random
    ) -> list[Offer]:
        """What could be given, best first; found before the lock is taken, which others need."""
        now = self._clock()
        look = Look(project, self.metrics, self.watermark(), draw)
        with self._database.read() as connection:
            if (mine := review_queue.own(connection, voter, project, now)) is not None:
                return [mine]
            offers = review_queue.offers(connection, voter, look, rules, now)
        # Where nothing else waits, a known answer would be told by that.
        if offers and draw.random() < rules.gold:
            return self._known_answers(voter, project, now, draw) + offers
        return offers

    def _known_answers(
        self, voter: str, project: str, now: datetime, draw: random.Random
    ) -> list[Offer]:
        known = sorted(self.gold())
        drawn = draw.sample(known, min(len(known), MOST))
        query = select(interactions.c.id).where(of_project(project), interactions.c.id.in_(drawn))
        with self._database.read() as connection:
            here = set(connection.scalars(query))
            drawn = [id for id in drawn if id in here]
            return [
                Offer(id, "gold") for id in review_queue.free(connection, drawn, voter, now, None)
            ][:3]

    def _reserve(
        self, voter: str, project: str, offers: Sequence[Offer], rules: ReviewRules
    ) -> Reservation | None:
        """The first that is still to be had."""
        now = self._clock()
        with self._database.write() as connection:
            old = reservations.c.expires_at < now - _FORGOTTEN
            connection.execute(delete(reservations).where(old))
            mine = review_queue.own(connection, voter, project, now)
            for offer in offers if mine is None else [mine]:
                twice = None if offer.source == "gold" else rules.twice
                if review_queue.free(connection, [offer.interaction], voter, now, twice):
                    return review_queue.reserve(connection, voter, offer, rules.minutes, now)
        return None


_NOT_YOURS = (
    "this answer isn't reserved for you (any longer), another reviewer may have it: take the next"
)


def _source(connection: Connection, voter: str, interaction: str) -> Source:
    """Why a reviewer has an answer, or `Conflict`; an expired one is his until it is taken."""
    row = review_queue.reserved(connection, interaction)
    if row is None or row.voter != voter:
        raise Conflict(_NOT_YOURS)
    source: Source = row.source
    return source


def _project(connection: Connection, interaction: str) -> str:
    query = select(interactions.c.project).where(interactions.c.id == interaction)
    project: str | None = connection.execute(query).scalar()
    if project is None:
        raise Conflict(_NOT_YOURS)
    return project


def _own_review(connection: Connection, voter: str, interaction: str) -> Review | None:
    own = (reviews.c.interaction == interaction) & (reviews.c.voter == voter)
    row = connection.execute(select(reviews).where(own).order_by(reviews.c.seq.desc())).first()
    return None if row is None else Review.model_validate(row._asdict())


def _stands(connection: Connection, word: Feedback) -> bool:
    """Whether a word is what its voter says already."""
    last = last_feedback(connection, word.interaction, word.voter, word.metric)
    return last is not None and (last.value, last.text) == (word.value, word.text)
