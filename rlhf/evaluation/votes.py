"""What the votes say so far, how many more are needed for what, and a page that shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from feedback_store import Store, is_held_out
from feedback_store.fields import printable
from feedback_store.reading.breakdown import GROUPS, Day, Share, Voters
from feedback_store.reading.stats import Stats
from rlhf.evaluation.charts import line_chart, share_chart
from rlhf.evaluation.gate import GateSettings, prompts_for_win
from rlhf.evaluation.templating import template
from rlhf.files import write_text

MOST_GROUPS = 40


@dataclass(frozen=True)
class Need:
    """How far there is to go; `votes` estimates the votes still missing."""

    have: int
    needed: int
    votes: int


@dataclass(frozen=True)
class VoteReport:
    """All that `rlhf votes stats` tells; `trust` is None where nothing is known of voters."""

    project: str | None
    totals: Stats
    voters: Voters
    trust: Mapping[str, float] | None
    groups: Mapping[str, Mapping[str, Share]]
    days: tuple[Day, ...]
    update: Need
    gate: Need
    power: float
    effect: float

    def document(self) -> dict[str, Any]:
        """For a script; the totals stand at the top."""
        own = asdict(self)
        return {**own.pop("totals"), **own}


@dataclass(frozen=True)
class Aims:
    """What votes are collected for: the next cycle's threshold, the split, and the gate."""

    min_votes: int
    held_out: float
    salt: str
    gate: GateSettings


def gather(
    store: Store, project: str | None, aims: Aims, trust: Mapping[str, float] | None = None
) -> VoteReport:
    """Count in the database; `trust` maps voters to weights in [0, 1], where they were judged."""
    return VoteReport(
        project=project,
        totals=store.stats(project),
        voters=store.voters(project=project),
        trust=None if trust is None else _spread(trust),
        groups={group: store.by_group(group, project=project) for group in GROUPS},
        days=tuple(store.by_day(project=project)),
        update=_update(store, project, aims.min_votes),
        gate=_gate(store, project, aims),
        power=aims.gate.power,
        effect=aims.gate.effect,
    )


def _update(store: Store, project: str | None, needed: int) -> Need:
    """New votes since the last snapshot against those that a cycle waits for."""
    built = [s.watermark for s in store.snapshots() if project in (None, s.project)]
    have = store.votes_since(max(built, default=0), project=project)
    return Need(have, needed, max(0, needed - have))


def _gate(store: Store, project: str | None, aims: Aims) -> Need:
    """Held-out conversations with a vote against those that show `effect` with `power`.

    Only so many of the conversations to come are held out, so the votes are that many more.
    """
    voted = store.voted_conversations(project=project)
    have = sum(is_held_out(id, aims.held_out, aims.salt) for id in voted)
    needed = prompts_for_win(aims.gate)
    return Need(have, needed, math.ceil(max(0, needed - have) / aims.held_out))


def _spread(trust: Mapping[str, float]) -> dict[str, float]:
    values = sorted(trust.values())
    if not values:
        return {"judged": 0}
    return {
        "judged": len(values),
        "lowest": values[0],
        "median": median(values),
        "below_half": sum(value < 0.5 for value in values),
    }


def write_page(path: Path, report: VoteReport) -> None:
    """One HTML file that loads nothing and runs nothing."""
    html = template("votes.html.jinja").render(
        report=report,
        tables={name: _table(shares) for name, shares in report.groups.items()},
        charts=_charts(report.days),
        needs=_needs(report),
        most=MOST_GROUPS,
    )
    write_text(path, printable(html))


def _table(shares: Mapping[str, Share]) -> list[dict[str, Any]]:
    """The largest groups; those without a name are told as such."""
    largest = sorted(shares.items(), key=lambda item: (-item[1]["interactions"], item[0]))
    rows = []
    for name, share in largest[:MOST_GROUPS]:
        low, rate, high = share["low"], share["rate"], share["high"]
        chart = None
        if low is not None and rate is not None and high is not None:
            chart = share_chart(low, rate, high, label=f"{rate:.1%}, {low:.1%} to {high:.1%}")
        rows.append({"name": name or "not named", "share": share, "chart": chart})
    return rows


def _charts(days: tuple[Day, ...]) -> dict[str, dict[str, Any]]:
    """Days are counted from the first; one without votes leaves no gap, as nothing changed."""
    if not days:
        return {}
    first = date.fromisoformat(days[0]["day"])

    def over(value: Callable[[Day], float | None]) -> list[tuple[float, float]]:
        told = [((date.fromisoformat(day["day"]) - first).days, value(day)) for day in days]
        return [(float(at), height) for at, height in told if height is not None]

    rate = {name: over(lambda day, n=name: day[n]) for name in ("rate", "low", "high")}  # type: ignore[misc]
    votes = {name: over(lambda day, n=name: day[n]) for name in ("up", "down", "comparisons")}  # type: ignore[misc]
    across = f"days from {days[0]['day']}"
    charts = {"Share of up so far, with its interval": rate, "Votes a day": votes}
    return {
        title: {"series": list(series), "svg": line_chart(series, label=title, across=across)}
        for title, series in charts.items()
        if any(series.values())
    }


def _needs(report: VoteReport) -> list[dict[str, Any]]:
    update, gate = report.update, report.gate
    return [
        {
            "name": "Next update",
            "share": min(1.0, update.have / update.needed),
            "told": f"{update.have} of {update.needed} new votes; {update.votes} more",
        },
        {
            "name": "Gate",
            "share": min(1.0, gate.have / gate.needed),
            "told": (
                f"{gate.have} of {gate.needed} held-out conversations with a vote, which find a "
                f"win rate of {0.5 + report.effect:.0%} with {report.power:.0%} power; "
                f"about {gate.votes} more votes"
            ),
        },
    ]
