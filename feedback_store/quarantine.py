"""Votes held back by a person or let go again, and answers whose right vote is known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Table, func, select, update

from feedback_store.errors import NotFound, Refused
from feedback_store.fields import printable
from feedback_store.storage.database import Database
from feedback_store.storage.tables import (
    comparisons,
    counter,
    feedback,
    gold,
    held,
    interactions,
    quarantine,
    snapshots,
)
from feedback_store.writing.rows import take_turn

_CHUNK = 500
_MAX_REASON = 1_000
_MOST_NOTED = 1_000


class Held(NamedTuple):
    """The last word on a vote: held back or released, and why."""

    vote: str
    held: bool
    reason: str
    created_at: datetime


class Quarantine:
    """Append-only like the votes: an older watermark keeps the decisions that it had."""

    _database: Database
    _clock: Callable[[], datetime]

    def quarantine(self, votes: Sequence[str], reason: str) -> None:
        """Keep votes (by id) out of every later snapshot, until `release`."""
        self._decide(votes, reason, held=True)

    def release(self, votes: Sequence[str], reason: str) -> None:
        """Let votes back in, whether a person held them or the build did by itself."""
        self._decide(votes, reason, held=False)

    def quarantined(self, upto: int | None = None) -> list[Held]:
        """What people hold back as of a watermark, by vote."""
        return [entry for entry in self.decided(upto).values() if entry.held]

    def decided(self, upto: int | None = None) -> dict[str, Held]:
        """The last decision on each vote that has one."""
        last = select(func.max(quarantine.c.seq)).group_by(quarantine.c.vote)
        if upto is not None:
            last = last.where(quarantine.c.seq <= upto)
        query = select(quarantine).where(quarantine.c.seq.in_(last)).order_by(quarantine.c.vote)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {row.vote: Held(row.vote, row.held, row.reason, row.created_at) for row in rows}

    def note_held(self, project: str, watermark: int, reasons: Mapping[int, str]) -> None:
        """Keep what a build held back by itself, for people to judge: the newest of the votes.

        By their numbers, with why. A build as of an older watermark than another's is no news.
        """
        newest = sorted(reasons, reverse=True)[:_MOST_NOTED]
        of_project = snapshots.c.project == project
        with self._database.write() as connection:
            take_turn(connection)
            last = select(func.max(snapshots.c.watermark)).where(of_project)
            if watermark < (connection.execute(last).scalar() or 0):
                return
            connection.execute(held.delete().where(held.c.project == project))
            for table in (feedback, comparisons):
                for chunk in _chunks(newest):
                    query = select(table.c.seq, table.c.id).where(table.c.seq.in_(chunk))
                    found = connection.execute(query).all()
                    rows = [{"vote": row.id, "project": project, "reason": reasons[row.seq]}
                            for row in found]  # fmt: skip
                    if rows:
                        connection.execute(held.insert(), rows)

    def seqs(self, votes: Sequence[str]) -> set[int]:
        """The numbers under which votes are stored."""
        with self._database.read() as connection:
            return set(_known(connection, votes).values())

    def set_gold(self, interaction: str, up: bool | None) -> None:
        """Say what a careful voter says of an interaction; None forgets it.

        Slipped in among others, such answers tell how reliable a voter is where nobody else votes
        on what they vote on.
        """
        with self._database.write() as connection:
            seq = take_turn(connection).seq + 1
            here = select(interactions.c.id).where(interactions.c.id == interaction)
            if connection.execute(here).first() is None:
                raise NotFound(f"no interaction {interaction}")
            row = {"seq": seq, "interaction": interaction, "up": up, "created_at": self._clock()}
            connection.execute(gold.insert(), row)
            count_on(connection, seq)

    def gold(self, upto: int | None = None) -> dict[str, bool]:
        """The known answers as of a watermark, by interaction."""
        query = select(gold.c.interaction, gold.c.up).order_by(gold.c.seq)
        if upto is not None:
            query = query.where(gold.c.seq <= upto)
        with self._database.read() as connection:
            last = {row.interaction: row.up for row in connection.execute(query)}
        return {interaction: up for interaction, up in last.items() if up is not None}

    def gold_numbers(self, upto: int | None = None) -> dict[int, bool]:
        """The known answers by the numbers under which their interactions are stored."""
        known = self.gold(upto)
        with self._database.read() as connection:
            numbers = _numbers(connection, interactions, list(known))
        return {numbers[id]: up for id, up in known.items() if id in numbers}

    def _decide(self, votes: Sequence[str], reason: str, *, held: bool) -> None:
        votes = sorted(set(votes))
        reason = checked_reason(reason)
        now = self._clock()
        with self._database.write() as connection:
            seq = take_turn(connection).seq
            known = _known(connection, votes)
            if missing := [vote for vote in votes if vote not in known]:
                raise NotFound(f"no vote {missing[0]}")
            rows = [
                {
                    "seq": seq + place,
                    "vote": vote,
                    "held": held,
                    "reason": reason,
                    "created_at": now,
                }
                for place, vote in enumerate(votes, start=1)
            ]
            if rows:
                connection.execute(quarantine.insert(), rows)
                count_on(connection, seq + len(rows))


def checked_reason(reason: str) -> str:
    """The reason of a decision, or `Refused`."""
    if not reason.strip() or len(reason) > _MAX_REASON or printable(reason) != reason:
        raise Refused(f"a reason is 1 to {_MAX_REASON} printable characters")
    return reason


def count_on(connection: Connection, seq: int) -> None:
    """Note, within a turn, the last number that was given to a row."""
    connection.execute(update(counter).where(counter.c.name == "rows").values(value=seq))


def _known(connection: Connection, votes: Sequence[str]) -> dict[str, int]:
    return _numbers(connection, feedback, votes) | _numbers(connection, comparisons, votes)


def _numbers(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, int]:
    return {
        row.id: row.seq
        for chunk in _chunks(ids)
        for row in connection.execute(select(table.c.id, table.c.seq).where(table.c.id.in_(chunk)))
    }


Item = TypeVar("Item", str, int)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
