"""The dashboard's charts as numbers: each a few series over time, out of the counts.

A rate's `low` and `high` hold however often one looks (`feedback_store.intervals`); of sampled or
few answers they are wide, as they should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from feedback_store.intervals import Interval, rate_interval
from rlhf.serving.answer_sample import REWARDS
from rlhf.serving.figure_tables import Cell, Table

SHOWN: Final = 6
"""Groups with lines of their own; more can't be told apart. The table of groups has them all."""


@dataclass(frozen=True)
class Series:
    """One line: its group (None: all together) and what it is of that."""

    group: str | None
    stat: str
    values: list[float | None]
    low: list[float | None] | None = None
    high: list[float | None] | None = None
    n: list[int] | None = None
    """How many answers or votes each value stands on."""


@dataclass(frozen=True)
class Chart:
    """Some lines of one unit."""

    unit: str
    series: list[Series]


@dataclass(frozen=True)
class Rate:
    """A share with its interval; None of nothing."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def rate(part: int, total: int) -> Rate:
    """So many of so many."""
    part = min(max(part, 0), total)
    if total <= 0:
        return Rate(None, None, None, 0)
    low, high = _interval(part, total)
    return Rate(part / total, low, high, total)


# The past doesn't change: a page that is loaded again asks for the same.
@lru_cache(maxsize=20_000)
def _interval(part: int, total: int) -> Interval:
    return rate_interval(part, total)


def up_rate(cell: Cell) -> Rate:
    """Ups among ups and downs."""
    return rate(cell["up"], cell["up"] + cell["down"])


def in_style(cell: Cell) -> Rate:
    """Sampled answers that keep the style they were asked for."""
    return rate(cell["in_style"], cell["styled"])


def compliant(cell: Cell) -> Rate:
    """Answers that no rule blocked."""
    return rate(cell["answers"] - cell["blocked"], cell["answers"])


def reward(cell: Cell, name: str) -> float | None:
    """A reward's mean over the sampled answers that it applies to."""
    count = cell[f"rewarded/{name}"]
    return cell[f"reward/{name}"] / 1_000 / count if count else None


def charts(table: Table, now: datetime, baseline: Cell) -> dict[str, Chart]:
    """All charts, in the order of the page; `baseline` is the champion's first week."""
    groups: list[str | None] = [None, *table.groups[:SHOWN]]
    return {
        "requests": Chart("per_second", [_requests(table, group, now) for group in groups]),
        "first_token": Chart("ms", list(_quantiles(table, groups, "first_token_ms"))),
        "speed": Chart("tokens_per_second", list(_quantiles(table, groups, "tokens_per_s"))),
        "up_rate": Chart("share", [_rates(table, group, "rate", up_rate) for group in groups]),
        "votes": Chart("count", list(_votes(table))),
        "style": Chart("share", [_rates(table, group, "in_style", in_style) for group in groups]),
        "compliance": Chart("share", [_rates(table, g, "not_blocked", compliant) for g in groups]),
        "rewards": Chart("score", [_reward(table, name) for name in REWARDS]),
        "length": Chart("characters", list(_lengths(table, groups, baseline))),
        "ends": Chart(
            "count", [_count(table, n) for n in ("error", "cancelled", "blocked", "cut")]
        ),
        "tokens": Chart(
            "count", [_count(table, n) for n in ("prompt_tokens", "completion_tokens")]
        ),
    }


def _requests(table: Table, group: str | None, now: datetime) -> Series:
    cells = table.cells[group]
    counts = [cell["answers"] for cell in cells]
    values = [n / table.seconds(at, now) for at, n in enumerate(counts)]
    return Series(group, "rate", [*values], n=counts)


def _quantiles(table: Table, groups: list[str | None], of: str) -> Iterator[Series]:
    for group in groups:
        bins = [cell.bins(of) for cell in table.cells[group]]
        n = [sum(sizes.values()) for sizes in bins]
        for stat, share in (("p50", 0.5), ("p95", 0.95)):
            yield Series(
                group, stat, [cell.quantile(of, share) for cell in table.cells[group]], n=n
            )


def _rates(table: Table, group: str | None, stat: str, of: Callable[[Cell], Rate]) -> Series:
    rates = [of(cell) for cell in table.cells[group]]
    return Series(
        group,
        stat,
        [one.value for one in rates],
        [one.low for one in rates],
        [one.high for one in rates],
        [one.n for one in rates],
    )


def _votes(table: Table) -> Iterator[Series]:
    yield from (_count(table, name) for name in ("up", "down", "ratings", "corrections"))
    yield from (_count(table, name) for name in ("comments", "comparisons"))
    for signal, _ in table.totals[None].named("signal/"):
        yield _count(table, f"signal/{signal}")


def _count(table: Table, name: str) -> Series:
    return Series(None, name, [cell[name] for cell in table.cells[None]])


def _reward(table: Table, name: str) -> Series:
    cells = table.cells[None]
    n = [cell[f"rewarded/{name}"] for cell in cells]
    return Series(None, name, [reward(cell, name) for cell in cells], n=n)


def _lengths(table: Table, groups: list[str | None], baseline: Cell) -> Iterator[Series]:
    """Medians by group, and what the champion's was when it was new."""
    for group in groups:
        cells = table.cells[group]
        n = [sum(cell.bins("characters").values()) for cell in cells]
        yield Series(group, "p50", [cell.quantile("characters", 0.5) for cell in cells], n=n)
    usual = baseline.quantile("characters", 0.5)
    yield Series(None, "baseline", [usual] * len(table.hours))
