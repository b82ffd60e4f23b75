"""What a store of votes should hold after any history, said as plainly as it can be: in lists."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from feedback_store import Conflict, Limits, NotFound, Refused, Unavailable

# The project of every interaction there may be; votes are of the first.
PROJECTS = {"i0": "default", "i1": "default", "i2": "default", "other": "shop"}

Errors = set[type[Exception]]


class Ask(NamedTuple):
    """An interaction is sent."""

    id: str
    response: str


@dataclass(frozen=True)
class Word:
    """A vote: `key` is the interaction, or the two, then the metric if any, and the voter."""

    id: str
    needs: tuple[str, ...]
    key: tuple[str, ...]
    says: Any
    """None in a tombstone."""
    came: datetime | None = None
    awaits: str | None = None

    @property
    def voter(self) -> str:
        return self.key[-1]

    @property
    def compares(self) -> bool:
        return len(self.needs) == 2

    def same(self, other: "Word") -> bool:
        return (self.key, self.says) == (other.key, other.says)

    def clashes(self, other: "Word") -> bool:
        alike = (self.id, self.compares) == (other.id, other.compares)
        return bool(self.id) and alike and not self.same(other)


@dataclass
class Model:
    """Rows in their order, early votes in theirs, and the answers that were given."""

    limits: Limits
    rows: list[Ask | Word] = field(default_factory=list)
    early: list[Word] = field(default_factory=list)
    answers: dict[str, tuple[Any, int, datetime]] = field(default_factory=dict)
    expired: int = 0

    def copy(self) -> "Model":
        return replace(self, rows=[*self.rows], early=[*self.early], answers={**self.answers})

    def words(self, upto: int | None = None) -> Iterator[Word]:
        return (row for row in self.rows[:upto] if isinstance(row, Word))

    def standing(self, upto: int | None = None) -> set[tuple[tuple[str, ...], Any]]:
        """What each key says as of a watermark."""
        last = {word.key: word.says for word in self.words(upto)}
        return {(key, says) for key, says in last.items() if says is not None}

    def expire(self, now: datetime) -> None:
        stay = [word for word in self.early if word.came and word.came >= self._oldest(now)]
        self.expired += len(self.early) - len(stay)
        self.early = stay

    def append(
        self, asked: Iterable[Ask], said: Iterable[Word], wait: bool, now: datetime
    ) -> Errors:
        """Take all of it; what comes back is what may be wrong with it."""
        self.expire(now)
        errors: Errors = set()
        fresh = []
        for ask in asked:
            known = self._asked().get(ask.id)
            if known is None:
                self.rows.append(ask)
                fresh.append(ask.id)
            elif known != ask:
                errors.add(Conflict)
        self._admit(fresh)
        said = list(said)
        # Whatever else is wrong with them, one id can't have two bodies.
        for place, word in enumerate(said):
            if any(word.clashes(other) for other in said[:place]):
                errors.add(Conflict)
        for part in (False, True):  # feedback, then comparisons
            for word in said:
                if word.compares == part:
                    errors |= self._say(replace(word, came=now), wait)
        return errors

    def withdraw(self, needs: tuple[str, ...], key: tuple[str, ...], now: datetime) -> Errors:
        """Take back what the key says, be it early."""
        self.expire(now)
        said = [word for word in self.words() if word.key == key]
        said = said or [word for word in self.early if word.key == key and word.awaits]
        if not said or said[-1].says is None:
            return {NotFound}
        return self._say(Word("", needs, key, None, now), wait=True)

    def _say(self, word: Word, wait: bool) -> Errors:
        for known in [*self.words(), *self.early] if word.id else ():
            if (known.id, known.compares) == (word.id, word.compares):
                return {Conflict} if known.clashes(word) else set()
        if self._strange(word):
            return {Refused}
        missing = self._missing(word)
        if missing is None:
            self.rows.append(word)
        elif not wait:
            return {NotFound}
        else:
            self.early.append(replace(word, awaits=missing))
            of_voter = sum(early.voter == word.voter for early in self.early)
            if len(self.early) > self.limits.waiting or of_voter > self.limits.waiting_of_voter:
                return {Unavailable}
        return set()

    def _admit(self, ids: list[str]) -> None:
        stay: list[Word] = []
        for word in self.early:
            if word.awaits not in ids:
                stay.append(word)
            elif self._strange(word):
                stay.append(replace(word, awaits=None))
            elif (missing := self._missing(word)) is not None:
                stay.append(replace(word, awaits=missing))
            else:
                self.rows.append(word)
        self.early = stay

    def _asked(self) -> dict[str, Ask]:
        return {row.id: row for row in self.rows if isinstance(row, Ask)}

    def _missing(self, word: Word) -> str | None:
        return next((id for id in word.needs if id not in self._asked()), None)

    def _strange(self, word: Word) -> bool:
        """A comparison of answers of two projects."""
        known = {PROJECTS[id] for id in word.needs if id in self._asked()}
        return word.compares and not known <= {"default"}

    def _oldest(self, now: datetime) -> datetime:
        return now - self.limits.waiting_age
