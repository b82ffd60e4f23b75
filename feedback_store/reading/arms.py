"""What came of answers whose policy was drawn by lot: the votes and ends of a canary's trial.

Only such answers can be compared: their users were dealt to the policies by nothing but chance, at
the same time. Each read costs what is new, or what the partial index on drawn answers holds.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple, TypeVarTuple

from sqlalchemy import Select, and_, func, or_, select

from feedback_store.metrics import Metrics
from feedback_store.reading.reads import FEEDBACK_KEY
from feedback_store.reading.stats import directions, times
from feedback_store.storage.database import Database
from feedback_store.storage.tables import DRAWN, feedback, interactions

Columns = TypeVarTuple("Columns")


class Answers(NamedTuple):
    """How a policy's answers ended; times to the first token, in ms, are the newest ones."""

    total: int
    errors: int
    blocked: int
    first_token_ms: list[float]


Said = dict[tuple[str, str], tuple[int, int]]
"""By policy ("" for none) and voter: how many more ups and downs there are than before."""


class Arms:
    """Reads of answers drawn by lot, given by real users of one project."""

    _database: Database
    metrics: Metrics

    def first_drawn(self, policies: Collection[str], project: str, since: datetime) -> int | None:
        """The number of the first drawn answer of any of these since a moment; None: none yet."""
        drawn = _drawn(select(func.min(interactions.c.seq)), policies, project)
        with self._database.read() as connection:
            found = connection.execute(drawn.where(interactions.c.created_at >= since)).scalar()
        return None if found is None else int(found)

    def votes_on_drawn(
        self, policies: Collection[str], project: str, *, first: int, after: int, upto: int
    ) -> Said:
        """By how much votes numbered (after, upto] change what is said of answers from `first` on.

        A changed mind takes the earlier word away, and a withdrawal does nothing else.
        """
        said: Counter[tuple[str, str]] = Counter()
        against: Counter[tuple[str, str]] = Counter()
        later = feedback.alias("later")
        new = (feedback.c.seq > after, feedback.c.seq <= upto)
        newer = (later.c.seq > after, later.c.seq <= upto)
        before = and_(
            *(later.c[name] == feedback.c[name] for name in FEEDBACK_KEY),
            feedback.c.revision == later.c.revision - 1,
        )
        name = func.coalesce(interactions.c.policy, "")
        up, down = map(times, directions(self.metrics))
        columns = select(name.label("policy"), feedback.c.voter, up.label("up"), down.label("down"))
        about = feedback.c.interaction == interactions.c.id
        gained = columns.join_from(feedback, interactions, about).where(*new)
        lost = columns.select_from(later.join(feedback, before).join(interactions, about))
        lost = lost.where(*newer)
        with self._database.read() as connection:
            for sign, query in ((1, gained), (-1, lost)):
                query = query.where(
                    name.in_(policies),
                    # None of use to an index, so that the planner begins with the new votes.
                    func.coalesce(interactions.c.project, "") == project,
                    interactions.c.seq + 0 >= first,
                    interactions.c.assignment_probability + 0.0 < 1.0,
                    ~interactions.c.simulated,
                    ~feedback.c.simulated,
                ).group_by(name, feedback.c.voter)
                for policy, voter, ups, downs in connection.execute(query):
                    said[policy, voter] += sign * ups
                    against[policy, voter] += sign * downs
        return {key: (said[key], against[key]) for key in said.keys() | against.keys()}

    def drawn_answers(
        self, policies: Collection[str], project: str, *, first: int, since: datetime, most: int
    ) -> Answers:
        """How these policies' drawn answers ended that were numbered and given since then."""
        recent = (interactions.c.seq >= first, interactions.c.created_at >= since)
        ended = interactions.c.finish_reason
        counts = select(func.count(), times(ended == "error"), times(ended == "content_filter"))
        wait = interactions.c.first_token_ms
        newest = select(wait).where(wait.is_not(None)).order_by(interactions.c.seq.desc())
        with self._database.read() as connection:
            query = _drawn(counts, policies, project).where(*recent)
            total, errors, blocked = connection.execute(query).one()
            waits = connection.execute(_drawn(newest.limit(most), policies, project).where(*recent))
            return Answers(total, errors, blocked, [float(ms) for ms in waits.scalars()][::-1])


def _drawn(query: Select[*Columns], policies: Collection[str], project: str) -> Select[*Columns]:
    named = interactions.c.policy.in_([policy for policy in policies if policy])
    nobody = interactions.c.policy.is_(None)
    own = or_(named, nobody) if "" in policies else named
    return query.where(own, DRAWN, interactions.c.project == project, ~interactions.c.simulated)
