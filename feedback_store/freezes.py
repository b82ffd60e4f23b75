"""Projects whose champion stays where it is until a person lets it move again."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from feedback_store.quarantine import checked_reason, count_on
from feedback_store.storage.database import Database
from feedback_store.storage.tables import freezes
from feedback_store.writing.rows import take_turn


class Freeze(NamedTuple):
    """A freeze that stands: of what, why and since when."""

    project: str
    reason: str
    created_at: datetime

    def told(self) -> str:
        """What it means for who wants to promote, and the way out."""
        return (
            f"project {self.project} is frozen ({self.reason}); "
            "`rlhf release thaw` lets its champion move again, `rlhf release rollback` goes back"
        )


class Freezes:
    """Append-only like the votes: the last word on a project stands."""

    _database: Database
    _clock: Callable[[], datetime]

    def freeze(self, project: str, reason: str) -> Freeze:
        """From now on nobody promotes in this project; a frozen one gets the newer reason."""
        now = self._say(project, reason, frozen=True)
        return Freeze(project, reason, now)

    def thaw(self, project: str, reason: str) -> Freeze | None:
        """Let the champion move again; gives the freeze that ends, None where there was none."""
        ended = self.frozen(project)
        if ended is not None:
            self._say(project, reason, frozen=False)
        return ended

    def frozen(self, project: str) -> Freeze | None:
        """The freeze that stands, if one does."""
        with self._database.read() as connection:
            return standing(connection, project)

    def _say(self, project: str, reason: str, *, frozen: bool) -> datetime:
        reason, now = checked_reason(reason), self._clock()
        with self._database.write() as connection:
            seq = take_turn(connection).seq + 1
            row = {"seq": seq, "project": project, "frozen": frozen, "reason": reason}
            connection.execute(freezes.insert(), {**row, "created_at": now})
            count_on(connection, seq)
        return now


def standing(connection: Connection, project: str) -> Freeze | None:
    """The freeze of a project as a transaction sees it."""
    of_project = freezes.c.project == project
    last = select(func.max(freezes.c.seq)).where(of_project).scalar_subquery()
    row = connection.execute(select(freezes).where(freezes.c.seq == last)).one_or_none()
    if row is None or not row.frozen:
        return None
    return Freeze(row.project, row.reason, row.created_at)
