"""How many votes there are, of what kind, from whom, on which policy."""

from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Integer, Select, case, cast, false, func, or_, select

from feedback_store.metrics import Metric, Metrics
from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY, Reads, is_live
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, interactions


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


def directions(metrics: Metrics) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Whether a row of feedback is an up vote, and whether it is a down vote."""
    own = [metric for metric in metrics.known() if not metric.plain]
    plain = feedback.c.metric.not_in([metric.name for metric in own])
    kinds = [(Metric(name=kind, kind=kind), plain) for kind in ("thumb", "rating")]
    cases = kinds + [(metric, feedback.c.metric == metric.name) for metric in own]
    ups, downs = zip(*(_sides(metric, rows) for metric, rows in cases), strict=True)
    return or_(*ups), or_(*downs)


def _sides(
    metric: Metric, rows: ColumnElement[bool]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    value = feedback.c.value
    rows &= feedback.c.kind == metric.kind
    if metric.kind == "thumb":
        high, low = rows & (value > 0), rows & (value < 0)
        return (high, low) if metric.better == "higher" else (low, high)
    if metric.kind != "rating":
        return false(), false()
    up, down = metric.from_scale(4), metric.from_scale(2)
    if metric.better == "higher":
        return rows & (value >= up), rows & (value <= down)
    return rows & (value <= up), rows & (value >= down)


class Counts(Reads):
    """Counting, done in the database."""

    _database: Database
    metrics: Metrics

    def stats(self, project: str | None = None) -> Stats:
        """Counts by kind, direction, origin and policy; a policy that isn't named counts as ""."""
        upto = self.watermark()
        with self._database.read() as connection:
            answered = connection.execute(_answered(project, upto)).all()
            said = connection.execute(_said(project, upto, self.metrics)).all()
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


def _said(project: str | None, upto: int, metrics: Metrics) -> Select[Any]:
    up, down = directions(metrics)
    key = (feedback.c.kind, interactions.c.policy, feedback.c.simulated)
    query = select(*key, func.count(), times(up), times(down))
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
