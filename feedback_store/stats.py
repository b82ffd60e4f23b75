"""How many votes there are, of what kind, from whom, on which policy."""

from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Integer, Select, case, cast, func, or_, select

from feedback_store.database import Database
from feedback_store.reads import COMPARISON_KEY, FEEDBACK_KEY, Reads, is_live
from feedback_store.tables import comparisons, feedback, interactions


class PolicyStats(TypedDict):
    """What one policy answered and how it was judged."""

    interactions: int
    up: int
    down: int


class Stats(TypedDict):
    """Live votes as of a watermark; up and down count thumbs, and ratings of 4–5 and 1–2."""

    watermark: int
    interactions: int
    votes: dict[str, int]
    up: int
    down: int
    real: int
    simulated: int
    by_policy: dict[str, PolicyStats]


UP = or_(
    (feedback.c.kind == "thumb") & (feedback.c.value > 0),
    (feedback.c.kind == "rating") & (feedback.c.value >= 4),
)
DOWN = or_(
    (feedback.c.kind == "thumb") & (feedback.c.value < 0),
    (feedback.c.kind == "rating") & (feedback.c.value <= 2),
)


class Counts(Reads):
    """Counting, done in the database."""

    _database: Database

    def stats(self, project: str | None = None) -> Stats:
        """Counts by kind, direction, origin and policy; a policy that isn't named counts as ""."""
        upto = self.watermark()
        with self._database.read() as connection:
            answered = connection.execute(_answered(project, upto)).all()
            said = connection.execute(_said(project, upto)).all()
            chosen = connection.execute(_chosen(project, upto)).all()
        votes: dict[str, int] = {}
        origin = {False: 0, True: 0}
        by_policy: dict[str, PolicyStats] = {
            policy or "": {"interactions": count, "up": 0, "down": 0} for policy, count in answered
        }
        for kind, policy, simulated, count, up, down in said:
            votes[kind] = votes.get(kind, 0) + count
            origin[simulated] += count
            by_policy[policy or ""]["up"] += up
            by_policy[policy or ""]["down"] += down
        for simulated, count in chosen:
            votes["comparison"] = votes.get("comparison", 0) + count
            origin[simulated] += count
        return {
            "watermark": upto,
            "interactions": sum(row["interactions"] for row in by_policy.values()),
            "votes": dict(sorted(votes.items())),
            "up": sum(row["up"] for row in by_policy.values()),
            "down": sum(row["down"] for row in by_policy.values()),
            "real": origin[False],
            "simulated": origin[True],
            "by_policy": dict(sorted(by_policy.items())),
        }


def times(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """How often it holds; 0 for no row."""
    return cast(func.coalesce(func.sum(case((condition, 1), else_=0)), 0), Integer)


def _answered(project: str | None, upto: int) -> Select[Any]:
    query = select(interactions.c.policy, func.count()).where(interactions.c.seq <= upto)
    if project is not None:
        query = query.where(interactions.c.project == project)
    return query.group_by(interactions.c.policy)


def _said(project: str | None, upto: int) -> Select[Any]:
    key = (feedback.c.kind, interactions.c.policy, feedback.c.simulated)
    query = select(*key, func.count(), times(UP), times(DOWN))
    query = query.join_from(feedback, interactions, feedback.c.interaction == interactions.c.id)
    query = query.where(is_live(feedback, FEEDBACK_KEY, upto))
    if project is not None:
        query = query.where(interactions.c.project == project)
    return query.group_by(*key)


def _chosen(project: str | None, upto: int) -> Select[Any]:
    query = select(comparisons.c.simulated, func.count())
    query = query.where(is_live(comparisons, COMPARISON_KEY, upto))
    if project is not None:
        query = query.where(comparisons.c.project == project)
    return query.group_by(comparisons.c.simulated)
