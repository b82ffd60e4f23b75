"""Which answers a reviewer may have, best first, and who has which now."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from feedback_store.review.rules import ReviewRules, SourceShares
from feedback_store.review.sources import SOURCES, Look, Source, found, of_project
from feedback_store.split import fraction_of
from feedback_store.storage.tables import interactions, reservations, reviews

_MOST_OFFERS = 24
"""Answers that one call may try to reserve: others can be quicker with some."""
_DRAWS = 3
_SECOND_LOOK = 500
"""Among so many of the newest reviews, those that want a second one are looked for."""


class Offer(NamedTuple):
    """An answer that could be given, and why."""

    interaction: str
    source: Source


class Reservation(NamedTuple):
    """An answer that one reviewer has before him."""

    interaction: str
    source: Source
    expires_at: datetime


def offers(
    connection: Connection, voter: str, look: Look, rules: ReviewRules, now: datetime
) -> list[Offer]:
    """Second looks first, then the sources in the order in which they are drawn."""
    best = _second_looks(connection, voter, look.project, rules, now)
    for source in _order(rules.shares, look.draw):
        if len(best) >= _MOST_OFFERS:
            break
        ids = of_source(connection, source, look, rules, voter, now)
        best += [Offer(id, source) for id in ids]
    return best[:_MOST_OFFERS]


def of_source(
    connection: Connection,
    source: Source,
    look: Look,
    rules: ReviewRules,
    voter: str | None,
    now: datetime,
) -> list[str]:
    """What a source has for a reviewer (None: for anybody)."""
    if source != "random":
        ids = found(connection, source, look)
        return free(connection, ids, voter, now, rules.twice)
    room = rules.random_a_day - _random_today(connection, look.project, now)
    if room <= 0:
        return []
    for _ in range(_DRAWS):  # in a small store most that is drawn was reviewed
        ids = free(connection, found(connection, source, look), voter, now, rules.twice)
        if ids:
            return ids[:room]
    return []


def free(
    connection: Connection,
    ids: Sequence[str],
    voter: str | None,
    now: datetime,
    twice: float | None,
) -> list[str]:
    """Those that a reviewer may have, in their order.

    `twice` is the share that two should see; None for known answers, which everybody may.
    """
    if not ids:
        return []
    stored = set(connection.scalars(select(interactions.c.id).where(interactions.c.id.in_(ids))))
    said: dict[str, set[str]] = {}
    gone: set[str] = set()
    about = select(reviews.c.interaction, reviews.c.voter, reviews.c.verdict)
    for row in connection.execute(about.where(reviews.c.interaction.in_(ids))):
        if row.voter == voter:
            gone.add(row.interaction)
        if row.verdict != "skip":
            said.setdefault(row.interaction, set()).add(row.voter)
    taken = select(reservations.c.interaction).where(
        reservations.c.interaction.in_(ids),
        reservations.c.expires_at > now,
        reservations.c.voter != (voter or ""),
    )
    gone |= set(connection.scalars(taken))
    if twice is not None:
        gone |= {id for id, by in said.items() if len(by) >= (2 if _twice(id, twice) else 1)}
    return [id for id in ids if id in stored and id not in gone]


def own(connection: Connection, voter: str, project: str, now: datetime) -> Offer | None:
    """What a reviewer has before him."""
    query = select(reservations.c.interaction, reservations.c.source).join(
        interactions, interactions.c.id == reservations.c.interaction
    )
    query = query.where(
        reservations.c.voter == voter,
        reservations.c.expires_at > now,
        of_project(project),
    )
    row = connection.execute(query.limit(1)).first()
    return None if row is None else Offer(row.interaction, row.source)


def reserved(connection: Connection, interaction: str) -> Any:
    """The row of a reservation, expired or not; None where there is none."""
    query = select(reservations).where(reservations.c.interaction == interaction)
    return connection.execute(query).one_or_none()


def reserve(
    connection: Connection, voter: str, offer: Offer, minutes: float, now: datetime
) -> Reservation:
    """Write it down, in place of one that has expired."""
    until = now + timedelta(minutes=minutes)
    values = {"voter": voter, "source": offer.source, "expires_at": until}
    here = reservations.c.interaction == offer.interaction
    if not connection.execute(update(reservations).where(here).values(**values)).rowcount:
        connection.execute(insert(reservations).values(interaction=offer.interaction, **values))
    return Reservation(offer.interaction, offer.source, until)


def midnight(now: datetime) -> datetime:
    """When today began, UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _order(shares: SourceShares, draw: random.Random) -> list[Source]:
    """The sources that have a share, drawn one after another by it."""
    left: dict[Source, float] = {name: getattr(shares, name) for name in SOURCES}
    left = {name: share for name, share in left.items() if share}
    order: list[Source] = []
    while left:
        (name,) = draw.choices(list(left), list(left.values()))
        order.append(name)
        del left[name]
    return order


def _random_today(connection: Connection, project: str, now: datetime) -> int:
    """Random answers that were reviewed today or are reserved; each once, however many see it."""
    done = select(reviews.c.interaction).where(
        reviews.c.project == project,
        reviews.c.created_at >= midnight(now),
        reviews.c.source == "random",
        reviews.c.verdict != "skip",
    )
    taken = select(reservations.c.interaction).where(
        reservations.c.source == "random", reservations.c.expires_at > now
    )
    return len({*connection.scalars(done), *connection.scalars(taken)})


def _second_looks(
    connection: Connection, voter: str, project: str, rules: ReviewRules, now: datetime
) -> list[Offer]:
    """Answers that one other reviewer has seen and two should."""
    if not rules.twice:
        return []
    query = select(reviews.c.interaction, reviews.c.source).where(
        reviews.c.project == project, reviews.c.verdict != "skip", reviews.c.source != "gold"
    )
    rows = connection.execute(query.order_by(reviews.c.seq.desc()).limit(_SECOND_LOOK))
    sources = {row.interaction: row.source for row in rows if _twice(row.interaction, rules.twice)}
    ids = free(connection, list(sources), voter, now, rules.twice)
    return [Offer(id, sources[id]) for id in ids]


def _twice(interaction: str, share: float) -> bool:
    """Whether two should see it: the same for every server."""
    return fraction_of(f"review\n{interaction}") < share
