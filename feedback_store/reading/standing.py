"""What stands of an answer: its live votes, and which of them are held back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from feedback_store.quarantine import Quarantine
from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY, Reads, is_live
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, held, quarantine, reviews


class Standing(NamedTuple):
    """A live vote on an answer, without its voter, and why it is held back, if it is."""

    id: str
    kind: str
    metric: str
    value: float | None
    """Of a comparison, 1 where this answer was chosen, -1 where it wasn't, 0 for a tie."""
    text: str | None
    reasons: list[str]
    created_at: datetime
    held: str | None


class StandingVotes(Reads, Quarantine):
    """The votes as a reviewer may see them."""

    _database: Database

    def standing(self, interaction: str) -> list[Standing]:
        """The live votes on an answer, oldest first, but for those of reviewers of it.

        So the second reviewer isn't told what the first one said.
        """
        upto = self.watermark()
        with self._database.read() as connection:
            words = connection.execute(_words(interaction, upto)).all()
            choices = [
                (side, row)
                for side in ("a", "b")
                for row in connection.execute(_choices(interaction, side, upto))
            ]
            ids = [row.id for row in words] + [row.id for _, row in choices]
            why = _held_back(connection, ids)
        found = [
            (
                row.seq,
                Standing(
                    id=row.id,
                    kind=row.kind,
                    metric=row.metric,
                    value=row.value,
                    text=row.text,
                    reasons=list(row.reasons),
                    created_at=row.created_at,
                    held=why.get(row.id),
                ),
            )
            for row in words
        ]
        found += [
            (
                row.seq,
                Standing(
                    id=row.id,
                    kind="comparison",
                    metric="comparison",
                    value=_worth(row.choice, side),
                    text=None,
                    reasons=[],
                    created_at=row.created_at,
                    held=why.get(row.id),
                ),
            )
            for side, row in choices
        ]
        return [vote for _, vote in sorted(found, key=lambda one: one[0])]


def _words(interaction: str, upto: int) -> Select[Any]:
    return select(feedback).where(
        feedback.c.interaction == interaction,
        is_live(feedback, FEEDBACK_KEY, upto),
        feedback.c.voter.not_in(_reviewers(interaction)),
    )


def _choices(interaction: str, side: str, upto: int) -> Select[Any]:
    return select(comparisons).where(
        comparisons.c[side] == interaction,
        is_live(comparisons, COMPARISON_KEY, upto),
        comparisons.c.voter.not_in(_reviewers(interaction)),
    )


def _reviewers(interaction: str) -> Select[Any]:
    return select(reviews.c.voter).where(reviews.c.interaction == interaction)


def _worth(choice: str, side: str) -> float:
    if choice == "tie":
        return 0.0
    return 1.0 if choice == side else -1.0


def _held_back(connection: Connection, votes: Sequence[str]) -> dict[str, str]:
    """Why votes are held: by the last snapshot, unless people decided otherwise since."""
    by_itself = select(held.c.vote, held.c.reason).where(held.c.vote.in_(votes))
    why: dict[str, str] = {row.vote: row.reason for row in connection.execute(by_itself)}
    decided = select(quarantine.c.vote, quarantine.c.held, quarantine.c.reason)
    decided = decided.where(quarantine.c.vote.in_(votes)).order_by(quarantine.c.seq)
    for row in connection.execute(decided):
        why.pop(row.vote, None)
        if row.held:
            why[row.vote] = row.reason
    return why
