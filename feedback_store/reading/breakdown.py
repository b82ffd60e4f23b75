"""Who says what of which answers: counts and rates by group, made in the database.

A rate is the share of up among up and down (a thumb, or a rating of 4-5 and 1-2), with an interval
that holds however often one looks (see `feedback_store.intervals`). A group without a name is "".
"""

from collections.abc import Iterator
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Connection, Select, case, func, select, union, union_all

from feedback_store.intervals import rate_interval
from feedback_store.metrics import Metrics
from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY, TRAINABLE, Reads, is_live
from feedback_store.reading.stats import directions, times
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, interactions

ALPHA = 0.05
GROUPS = ("policy", "style", "intent", "language")

_HAN = "[\u4e00-\u9fff]"
_KANA_OR_HANGUL = "[\u3041-\u30ff\uac00-\ud7a3]"
_LATIN = "[A-Za-z]"


class Share(TypedDict):
    """Interactions and votes of a group; the rate and its ends are None without a vote."""

    interactions: int
    up: int
    down: int
    rate: float | None
    low: float | None
    high: float | None


class Day(TypedDict):
    """Votes of one day (UTC, ISO), and the rate of all up to its end."""

    day: str
    up: int
    down: int
    comparisons: int
    rate: float | None
    low: float | None
    high: float | None


class Voters(TypedDict):
    """How many people voted, and how much of it the busiest of them."""

    voters: int
    single: int
    """Those with one vote."""
    votes: int
    busiest: int
    """Votes of the one who voted most."""


class Breakdown(Reads):
    """Counting by group; the work grows with the votes, what is returned with the groups."""

    _database: Database
    metrics: Metrics

    def by_group(
        self, group: str, *, project: str | None = None, alpha: float = ALPHA
    ) -> dict[str, Share]:
        """Interactions, votes and rates by `policy`, `style`, `intent` or `language`, by name.

        The language is the answer's script: `zh` with Han characters, `en` with Latin letters and
        none of them, else `other` (kana and hangul always).
        """
        upto = self.watermark()
        with self._database.read() as connection:
            key = _key(group, connection).label("key")
            answered = _scoped(select(key, func.count()), project)
            answered = answered.where(interactions.c.seq <= upto).group_by(key)
            found = {name or "": (count, 0, 0) for name, count in connection.execute(answered)}
            said = select(key, *map(times, directions(self.metrics))).select_from(feedback)
            said = said.join(interactions, feedback.c.interaction == interactions.c.id)
            said = _scoped(said, project).where(is_live(feedback, FEEDBACK_KEY, upto))
            for name, up, down in connection.execute(said.group_by(key)):
                found[name or ""] = (found[name or ""][0], up, down)
        return {name: share(*counts, alpha) for name, counts in sorted(found.items())}

    def by_day(self, *, project: str | None = None, alpha: float = ALPHA) -> list[Day]:
        """Live votes by the day they were stored on, and the rate so far."""
        upto = self.watermark()
        days: dict[str, list[int]] = {}
        with self._database.read() as connection:
            day = _day(feedback.c.created_at, connection).label("day")
            said = select(day, *map(times, directions(self.metrics))).select_from(feedback)
            said = said.join(interactions, feedback.c.interaction == interactions.c.id)
            said = _scoped(said, project).where(is_live(feedback, FEEDBACK_KEY, upto))
            for when, up, down in connection.execute(said.group_by(day)):
                days[str(when)] = [up, down, 0]
            day = _day(comparisons.c.created_at, connection).label("day")
            chosen = select(day, func.count()).where(is_live(comparisons, COMPARISON_KEY, upto))
            if project is not None:
                chosen = chosen.where(comparisons.c.project == project)
            for when, count in connection.execute(chosen.group_by(day)):
                days.setdefault(str(when), [0, 0, 0])[2] = count
        rows: list[Day] = []
        ups = downs = 0
        for when, (up, down, both) in sorted(days.items()):
            ups, downs = ups + up, downs + down
            so_far = share(0, ups, downs, alpha)
            rows.append(
                {
                    "day": when,
                    "up": up,
                    "down": down,
                    "comparisons": both,
                    "rate": so_far["rate"],
                    "low": so_far["low"],
                    "high": so_far["high"],
                }
            )
        return rows

    def voters(self, *, project: str | None = None) -> Voters:
        """How live votes, comparisons too, spread over people."""
        upto = self.watermark()
        said = select(feedback.c.voter).join(
            interactions, feedback.c.interaction == interactions.c.id
        )
        said = _scoped(said, project).where(is_live(feedback, FEEDBACK_KEY, upto))
        chosen = select(comparisons.c.voter).where(is_live(comparisons, COMPARISON_KEY, upto))
        if project is not None:
            chosen = chosen.where(comparisons.c.project == project)
        both = union_all(said, chosen).subquery()
        each = select(both.c.voter, func.count().label("n")).group_by(both.c.voter).subquery()
        once = func.coalesce(func.sum(case((each.c.n == 1, 1), else_=0)), 0)
        query = select(
            func.count(),
            once,
            func.coalesce(func.sum(each.c.n), 0),
            func.coalesce(func.max(each.c.n), 0),
        ).select_from(each)
        with self._database.read() as connection:
            voters, single, votes, busiest = connection.execute(query).one()
        return {
            "voters": voters,
            "single": int(single),
            "votes": int(votes),
            "busiest": int(busiest),
        }

    def voted_conversations(self, *, project: str | None = None) -> Iterator[str]:
        """Each conversation once that has a live vote to learn from (no comment, no signal)."""
        upto = self.watermark()
        said = select(interactions.c.conversation).join(
            feedback, feedback.c.interaction == interactions.c.id
        )
        said = said.where(feedback.c.kind.in_(TRAINABLE), is_live(feedback, FEEDBACK_KEY, upto))
        chosen = select(interactions.c.conversation).join(
            comparisons, comparisons.c.a == interactions.c.id
        )
        chosen = chosen.where(is_live(comparisons, COMPARISON_KEY, upto))
        query = union(*(_scoped(part, project) for part in (said, chosen)))
        with self._database.read() as connection:
            streamed = connection.execution_options(yield_per=1_000)
            yield from streamed.scalars(query)


def share(answers: int, up: int, down: int, alpha: float = ALPHA) -> Share:
    """A group's counts with its rate, bounded at all times together."""
    rate = low = high = None
    if up + down:
        rate = up / (up + down)
        low, high = rate_interval(up, up + down, alpha)
    return {
        "interactions": answers,
        "up": up,
        "down": down,
        "rate": rate,
        "low": low,
        "high": high,
    }


def _scoped(query: Select[Any], project: str | None) -> Select[Any]:
    return query if project is None else query.where(interactions.c.project == project)


def _key(group: str, connection: Connection) -> ColumnElement[Any]:
    if group == "style":
        return func.coalesce(interactions.c.style_used, interactions.c.style_asked)
    if group == "language":
        return language_of(interactions.c.response, connection)
    if group not in GROUPS:
        raise ValueError(f"no group {group}; one of {', '.join(GROUPS)}")
    return interactions.c[group]


def language_of(response: ColumnElement[Any], connection: Connection) -> ColumnElement[str]:
    """`zh`, `en` or `other`, by an answer's script (see `Breakdown.by_group`)."""

    def has(characters: str) -> ColumnElement[bool]:
        if connection.dialect.name == "sqlite":
            # GLOB runs in C; a regular expression would call Python for each row.
            return response.op("GLOB", is_comparison=True)(f"*{characters}*")
        return response.regexp_match(characters)

    return case(
        (has(_KANA_OR_HANGUL), "other"), (has(_HAN), "zh"), (has(_LATIN), "en"), else_="other"
    )


def _day(moment: Any, connection: Connection) -> ColumnElement[Any]:
    if connection.dialect.name == "sqlite":
        return func.date(moment)
    return func.date(func.timezone("UTC", moment))
