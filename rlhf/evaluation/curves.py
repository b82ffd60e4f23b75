"""Rows of `metrics.jsonl` become the few charts worth looking at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from rlhf.evaluation.charts import Points

# Counters, clocks, errors and what alarms read: of use to machines, not as curves.
_UNDRAWN = ("step", "epoch", "total_flos", "num_tokens", "num_input_tokens_seen")
_UNDRAWN_PARTS = ("runtime", "per_second", "time")
_UNDRAWN_ENDS = ("_se", "/se", "/constant")
_FIRST = (
    *("loss", "reward/total", "reward", "rewards", "kl", "entropy", "length", "finished"),
    *("win_rate", "accuracy", "perplexity"),
)
_MOST_CHARTS = 18


@dataclass(frozen=True)
class Curve:
    """One chart of one stage: its series by name, each a list of (step, value)."""

    stage: str
    name: str
    series: Mapping[str, Points]


def curves(rows: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The charts of each stage, losses and rewards first; training and held-out share a chart."""
    found: dict[str, list[Curve]] = {}
    for curve in grouped(rows):
        found.setdefault(curve.stage, []).append(curve)
    return [
        curve
        for of_stage in found.values()
        for curve in of_stage[:_MOST_CHARTS]
        if _tells_something(curve.series)
    ]


def grouped(rows: Sequence[Mapping[str, Any]], first: int = 0) -> list[Curve]:
    """All that may be drawn of these rows, be it a single point; `first` is the first one's number.

    A row without a step stands at its number.
    """
    found: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = {}
    for number, row in enumerate(rows, start=first):
        charts = found.setdefault(str(row.get("stage") or "training"), {})
        step = row.get("step")
        at = float(step) if _is_number(step) else float(number)
        for key, value in row.items():
            if _is_number(value) and _is_drawn(key):
                charts.setdefault(_chart_of(key), {}).setdefault(key, []).append((at, value))
    return [
        Curve(stage, name, series)
        for stage, charts in found.items()
        for name, series in sorted(charts.items(), key=lambda item: rank(item[0]))
    ]


def _tells_something(series: Mapping[str, Points]) -> bool:
    """Several points, and other than a count of failures that stays at 0."""
    several = any(len(points) > 1 for points in series.values())
    return several and any(value for points in series.values() for _, value in points)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_drawn(key: str) -> bool:
    told = any(part in key for part in _UNDRAWN_PARTS) or key.endswith(_UNDRAWN_ENDS)
    # A reward's own share of failures is part of `reward/invalid`.
    own = key.endswith("/invalid") and key != "reward/invalid"
    return key not in _UNDRAWN and not told and not own


def _chart_of(key: str) -> str:
    """`eval_loss` is drawn with `loss`, and `rewards/chosen` with `rewards/rejected`."""
    if key == "held_out/total":
        return "reward/total"
    name = key.removeprefix("eval_").removeprefix("held_out/")
    return name.removesuffix("/chosen").removesuffix("/rejected")


def rank(name: str) -> tuple[int, str]:
    """Where a figure stands among others: what is worth most comes first."""
    for place, first in enumerate(_FIRST):
        if name == first or name.startswith(first + "/"):
            return place, name
    return len(_FIRST), name
