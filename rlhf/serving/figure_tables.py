"""Counts of a range of time as a table: a row a group, a column an hour, day or week."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from feedback_store import Store
from feedback_store.reading.figures import Figure
from rlhf.serving.figures import DAY, DIMENSIONS
from rlhf.serving.histogram import quantile

Span = Literal["24h", "7d", "30d", "all"]
Group = Literal["policy", "style", "intent", "language"]
SPANS: Final[tuple[Span, ...]] = get_args(Span)
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
_WEEK: Final = 7 * DAY
_MOST: Final = 400
"""Columns; a longer history is shown by week."""


@dataclass(frozen=True)
class View:
    """What somebody wants to see."""

    span: Span = "7d"
    by: Group = "policy"
    simulated: bool = False
    """Simulated rows with people's."""


class Cell:
    """The counts of one group in one column, or in all of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    def quantile(self, of: str, share: float) -> float | None:
        """The size (`first_token_ms`, …) that this share of the answers stays below."""
        return quantile(self.bins(of), share)

    def bins(self, of: str) -> dict[int, int]:
        """How many answers there are of each size."""
        start = f"{of}/"
        sizes = (name for name in self.counts if name.startswith(start))
        return {int(name.removeprefix(start)): self.counts[name] for name in sizes}

    def named(self, start: str) -> Iterator[tuple[str, int]]:
        """Counts whose names begin so, by what follows."""
        for name, count in sorted(self.counts.items()):
            if name.startswith(start):
                yield name.removeprefix(start), count


@dataclass(frozen=True)
class Table:
    """All of it; the group None is everything together."""

    hours: list[int]
    """When each column begins, in hours since 1970."""
    width: int
    """Hours of a column."""
    cells: dict[str | None, list[Cell]]
    totals: dict[str | None, Cell]

    def seconds(self, column: int, now: datetime) -> float:
        """How long a column lasts, or has lasted so far."""
        begins = self.hours[column] * 3600.0
        return max(1.0, min(self.width * 3600.0, now.timestamp() - begins))

    @property
    def groups(self) -> list[str]:
        """All groups, the busiest first."""
        names = [name for name in self.totals if name is not None]
        return sorted(names, key=lambda name: (-_weight(self.totals[name]), name))


def read_table(store: Store, project: str, view: View, now: datetime) -> Table:
    """The counts of a range that ends now."""
    hour = int(now.timestamp() // 3600)
    today = hour - hour % DAY
    if view.span in ("24h", "7d"):
        first = hour - (DAY if view.span == "24h" else _WEEK) + 1
        found = store.figures(project, ["all", view.by], first=first, last=hour)
        return _table(found, view, list(range(first, hour + 1)), 1)
    since = today - 29 * DAY if view.span == "30d" else None
    days = [f"{dimension}/day" for dimension in ("all", view.by)]
    rows = list(store.figures(project, days, first=since, last=today))
    begins = min((row.hour for row in rows), default=today) if since is None else since
    width = DAY if (today - begins) // DAY < _MOST else _WEEK
    return _table(rows, view, list(range(begins, today + 1, width)), width)


def first_week(store: Store, project: str, policy: str, simulated: bool) -> Cell:
    """The counts of the seven days that begin with a policy's first answer."""
    rows = list(store.figures(project, ["policy/day"], name=policy))
    cell = Cell()
    for row in rows:
        if row.hour < rows[0].hour + _WEEK:
            cell.counts.update(_of_view(row.counts, simulated))
    return cell


def _table(rows: Iterable[Figure], view: View, hours: list[int], width: int) -> Table:
    cells: defaultdict[str | None, list[Cell]] = defaultdict(lambda: [Cell() for _ in hours])
    totals: defaultdict[str | None, Cell] = defaultdict(Cell)
    cells[None], totals[None]
    for row in rows:
        group = None if row.dimension.startswith(DIMENSIONS[0]) else row.name
        counts = _of_view(row.counts, view.simulated)
        if counts:
            cells[group][(row.hour - hours[0]) // width].counts.update(counts)
            totals[group].counts.update(counts)
    return Table(hours, width, dict(cells), dict(totals))


def _of_view(counts: dict[str, Any], simulated: bool) -> Counter[str]:
    kept: Counter[str] = Counter()
    for name, count in counts.items():
        plain = name.removeprefix("simulated/")
        if plain is name or simulated:
            kept[plain] += count
    return kept


def _weight(cell: Cell) -> int:
    return cell["answers"] + cell["up"] + cell["down"] + cell["comparisons"]


def moment(hour: int) -> str:
    """An hour since 1970 as ISO 8601."""
    return datetime.fromtimestamp(hour * 3600, UTC).isoformat()
