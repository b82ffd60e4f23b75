"""Counts that are kept: by hour and group, so that nobody reads a million votes to see a chart.

    rows after `upto` ─▶ whoever counts ─▶ changes ─▶ one transaction: counts, and `upto` moves

All counts are whole numbers, so that what is taken away again leaves nothing behind. Whoever counts
says what he counted from; the transaction refuses what others counted meanwhile, and what was read
before an erasure (`epoch`). So a crash, or a second server, never counts a row twice.

What the counts are is the counter's to say (`rlhf.serving.figures`); a choice between two answers
is named here, for whoever ranks policies (`Contest`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from feedback_store.storage.database import Database
from feedback_store.storage.tables import figures, figures_upto
from feedback_store.writing.rows import chunks

Counts = dict[str, int]
_FEW = 200
ALWAYS = 0
"""The hour of what is counted of all time together."""
_SIDES = 10
"""Bins of a difference in length, to either side of none."""


class Key(NamedTuple):
    """What a row of counts is of."""

    hour: int
    """Since 1970, UTC."""
    dimension: str
    name: str


class Figure(NamedTuple):
    """One row of counts."""

    hour: int
    dimension: str
    name: str
    counts: dict[str, Any]


class Counted(NamedTuple):
    """How far a project is counted."""

    upto: int
    epoch: int
    """How often all was forgotten."""


class Contest(NamedTuple):
    """How often two policies' answers were compared with this result; `first` sorts before."""

    first: str
    """A policy's id; "" is the base model."""
    second: str
    choice: Literal["first", "second", "tie", "both_bad"]
    shown: Literal["first", "second", ""]
    """Whose answer stood first, where that is known."""
    longer: float
    """By how much first's answer was longer: (first - second) / (first + second) in tenths."""
    reason: str
    """Where it was asked: `arena`, `regenerate`, `review`, or "" where nobody said."""
    simulated: bool
    n: int
    """How often."""


def contest_name(
    sides: tuple[tuple[str, int], tuple[str, int]], choice: str, shown_first: str | None
) -> str:
    """A row's name for a choice between sides a and b, each a policy and its answer's length."""
    turned = sides[1][0] < sides[0][0]
    (first, long), (second, other) = sides[::-1] if turned else sides
    called = {"a": "second", "b": "first"} if turned else {"a": "first", "b": "second"}
    share = (long - other) / (long + other) if long + other else 0.0
    place = round(share * _SIDES) + _SIDES
    shown = called.get(shown_first or "", "")
    return "|".join((first, second, called.get(choice, choice), shown, str(place)))


class Figures:
    """The part of the store that keeps counts."""

    _database: Database

    def counted(self, project: str) -> Counted:
        """How far a project is counted; from here on it is known to be."""
        with self._database.read() as connection:
            known = _counted(connection, project)
        if known is not None:
            return known
        with self._database.write() as connection:
            known = _counted(connection, project)
            if known is None:
                known = Counted(0, 0)
                row = {"project": project, **known._asdict()}
                connection.execute(figures_upto.insert().values(row))
        return known

    def figures(
        self,
        project: str,
        dimensions: Collection[str],
        *,
        name: str | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> Iterator[Figure]:
        """Counts of the hours from first to last, by hour; of all names, or of one."""
        query = _columns().where(
            figures.c.project == project, figures.c.dimension.in_(sorted(dimensions))
        )
        if name is not None:
            query = query.where(figures.c.name == name)
        if first is not None:
            query = query.where(figures.c.hour >= first)
        if last is not None:
            query = query.where(figures.c.hour <= last)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(figures.c.hour, figures.c.name)).all()
        return (Figure(*row) for row in rows if row.counts)

    def figures_of(self, project: str, keys: Collection[Key]) -> dict[Key, dict[str, Any]]:
        """The counts under these keys, as far as there are any."""
        found: dict[Key, dict[str, Any]] = {}
        with self._database.read() as connection:
            for dimension, group in groupby(sorted(keys, key=_dimension), _dimension):
                wanted = set(group)
                hours = sorted({key.hour for key in wanted})
                names = sorted({key.name for key in wanted})
                for some in chunks(hours):
                    query = _columns().where(
                        figures.c.project == project,
                        figures.c.hour.in_(some),
                        figures.c.dimension == dimension,
                    )
                    if len(names) < _FEW:  # else all of these hours are read at once
                        query = query.where(figures.c.name.in_(names))
                    for hour, _, name, counts in connection.execute(query):
                        key = Key(hour, dimension, name)
                        if key in wanted:
                            found[key] = counts
        return found

    def add_figures(
        self,
        project: str,
        since: Counted,
        upto: int,
        changes: Mapping[Key, Mapping[str, int]],
        instead: Mapping[Key, Mapping[str, Any]] | None = None,
    ) -> bool:
        """Change counts by so much, put others in place, and note that all up to there is counted.

        False, and nothing is changed, where somebody else counted or forgot since `since`.
        """
        # Read before the lock is taken: they are other counts only if `since` is no longer true.
        known = self.figures_of(project, changes)
        rows = [(key, added(known.get(key, {}), change)) for key, change in changes.items()]
        rows += [(key, dict(counts)) for key, counts in (instead or {}).items()]
        with self._database.write() as connection:
            if _counted(connection, project) != since:
                return False
            _put(connection, project, rows)
            here = figures_upto.c.project == project
            connection.execute(update(figures_upto).where(here).values(upto=upto))
        return True

    def forget_figures(self, project: str | None = None) -> None:
        """Have a project, or all, counted anew."""
        with self._database.write() as connection:
            forget(connection, project)

    def contests(self, project: str) -> list[Contest]:
        """All choices between two answers that stand, alike ones counted together."""
        total: dict[str, Counts] = {}
        for figure in self.figures(project, ["arena"], first=ALWAYS, last=ALWAYS):
            total[figure.name] = added(total.get(figure.name, {}), figure.counts)
        return [one for name, counts in sorted(total.items()) for one in _contests(name, counts)]


def added(known: Mapping[str, int], change: Mapping[str, int]) -> Counts:
    """Counts with others added; what comes to nothing goes."""
    total = {name: known.get(name, 0) + change.get(name, 0) for name in {**known, **change}}
    return {name: count for name, count in total.items() if count}


def forget(connection: Connection, project: str | None = None) -> None:
    """Within a write transaction that takes rows away: the counts of them go with it."""
    gone, left = delete(figures), update(figures_upto)
    if project is not None:
        gone = gone.where(figures.c.project == project)
        left = left.where(figures_upto.c.project == project)
    connection.execute(gone)
    connection.execute(left.values(upto=0, epoch=figures_upto.c.epoch + 1))


def _contests(name: str, counts: Counts) -> Iterator[Contest]:
    first, second, choice, shown, place = name.split("|")
    for label, count in sorted(counts.items()):
        reason = label.removeprefix("simulated/")
        yield Contest(
            first=first,
            second=second,
            choice=choice,  # type: ignore[arg-type]
            shown=shown,  # type: ignore[arg-type]
            longer=(int(place) - _SIDES) / _SIDES,
            reason="" if reason == "none" else reason,
            simulated=reason != label,
            n=count,
        )


def _counted(connection: Connection, project: str) -> Counted | None:
    query = select(figures_upto.c.upto, figures_upto.c.epoch)
    row = connection.execute(query.where(figures_upto.c.project == project)).first()
    return None if row is None else Counted(row.upto, row.epoch)


def _columns() -> Any:
    return select(figures.c.hour, figures.c.dimension, figures.c.name, figures.c.counts)


def _dimension(key: Key) -> str:
    return key.dimension


def _put(
    connection: Connection, project: str, rows: Sequence[tuple[Key, Mapping[str, Any]]]
) -> None:
    if rows:
        values = [
            {"project": project, **key._asdict(), "counts": dict(counts)} for key, counts in rows
        ]
        connection.execute(_upsert(connection.dialect.name), values)


@cache
def _upsert(dialect: str) -> Any:
    statement: Any = (sqlite if dialect == "sqlite" else postgresql).insert(figures)
    key = list(figures.primary_key.columns)
    return statement.on_conflict_do_update(
        index_elements=key, set_={"counts": statement.excluded.counts}
    )
