"""A run's `metrics.jsonl` as curves: whole at first, then what came since; thinned for a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rlhf.evaluation.curves import grouped
from rlhf.serving.run_folders import RunFolder, Unreadable, finite, lines

METRICS: Final = "metrics.jsonl"
MOST_POINTS: Final = 500
_MOST_SERIES: Final = 120
_MOST_STAGES: Final = 8
_MOST_ROWS: Final = 200_000
_MOST_PROBLEMS: Final = 5

Point = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """How far a reader has come: the byte after the last whole line, and how many lines that is."""

    byte: int = 0
    line: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Place:
        """A place as `str()` of it told; the beginning for anything else."""
        byte, _, line = (text or "").partition("-")
        if byte.isascii() and byte.isdecimal() and line.isascii() and line.isdecimal():
            return cls(int(byte[:15]), int(line[:15]))
        return cls()

    def __str__(self) -> str:
        return f"{self.byte}-{self.line}"


@dataclass(frozen=True)
class Series:
    """One line of one chart."""

    stage: str
    chart: str
    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Curves:
    """What `metrics.jsonl` tells from a place on."""

    begun: Place
    """Where reading began: the file's start where it is another file than the reader knew."""
    end: Place
    series: list[Series] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_curves(run: RunFolder, after: Place = Place()) -> Curves:
    """The curves of a run, or their new points after a place; never raises for what is in it."""
    try:
        begun = after if _is_known(run, after) else Place()
        return _read(run, begun)
    except Unreadable as error:
        return Curves(Place(), Place(), problems=[str(error)])


def _is_known(run: RunFolder, place: Place) -> bool:
    """Whether a line still ends there: a run that went on from a checkpoint wrote the file anew."""
    if place.byte == 0:
        return True
    try:
        with run.open(METRICS) as file:
            file.seek(place.byte - 1)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False


def _read(run: RunFolder, begun: Place) -> Curves:
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    end = begun
    for line in lines(run, METRICS, begun.byte):
        end = Place(line.end, end.line + 1)
        numbers, odd = _numbers(line.value or {})
        problem = line.problem or (f"{odd} is no finite number" if odd else None)
        if problem and len(problems) < _MOST_PROBLEMS:
            problems.append(f"{METRICS}: line {end.line}: {problem}")
        rows.append(numbers)
        if len(rows) >= _MOST_ROWS:
            break
    return Curves(begun, end, _series(rows, begun.line), problems)


def _numbers(row: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A row's stage and finite numbers, and the name of the first number that isn't finite."""
    kept: dict[str, Any] = {}
    odd = None
    for key, value in row.items():
        name = key[:100]
        if name == "stage" and isinstance(value, str):
            kept[name] = value[:100]
        elif (number := finite(value)) is not None:
            kept[name] = number
        elif isinstance(value, int | float) and not isinstance(value, bool):
            odd = odd or name
    return kept, odd


def _series(rows: Sequence[Mapping[str, Any]], first: int) -> list[Series]:
    found: list[Series] = []
    stages: set[str] = set()
    for curve in grouped(rows, first):
        if curve.stage not in stages and len(stages) == _MOST_STAGES:
            continue
        stages.add(curve.stage)
        for name, points in curve.series.items():
            found.append(Series(curve.stage, curve.name, name, thinned(points)))
    return found[:_MOST_SERIES]


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> Sequence[Point]:
    """At most so many of them, by stretches of equal length: each one's lowest and highest.

    So no spike is lost, which leaving out every so many would.
    """
    if len(points) <= most:
        return points
    buckets = most // 2
    kept: list[Point] = []
    for number in range(buckets):
        part = range(len(points) * number // buckets, len(points) * (number + 1) // buckets)
        low = min(part, key=lambda at: points[at][1])
        high = max(part, key=lambda at: points[at][1])
        kept += [points[at] for at in sorted({low, high})]
    return kept
