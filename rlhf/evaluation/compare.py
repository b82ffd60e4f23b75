"""Champion beside candidate, metric by metric: the rows that the report and the terminal show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup
from rich.markup import escape
from rich.table import Table

from rlhf.evaluation.charts import difference_chart
from rlhf.evaluation.estimate import Estimate, mean_estimate
from rlhf.evaluation.gate import GateDecision, Reason
from rlhf.evaluation.measurements import Measurements
from rlhf.evaluation.metrics import RATES


@dataclass(frozen=True)
class Comparison:
    """One metric's means on both sides, the paired difference, and the gate's word on it."""

    metric: str
    champion: Estimate | None
    candidate: Estimate | None
    difference: Estimate | None
    invalid: int
    reason: Reason | None

    def side(self, name: str) -> tuple[str, str]:
        """A side's mean and its interval, as text."""
        estimate = self.champion if name == "champion" else self.candidate
        if estimate is None:
            return "–", ""
        show = percent if self.metric in RATES else number
        return show(estimate.mean), _interval(estimate, show)

    def change(self) -> tuple[str, str]:
        """The difference and its interval, as text."""
        if self.difference is None:
            return "–", ""
        return number(self.difference.mean, sign=True), _interval(self.difference, number)

    def chart(self) -> Markup | None:
        """The difference drawn against zero."""
        d = self.difference
        if d is None or d.low is None or d.high is None:
            return None
        told = f"difference {d.mean:+.3g}, interval {d.low:.3g} to {d.high:.3g}"
        return difference_chart(d.low, d.mean, d.high, label=told)


def compare(measured: Measurements, decision: GateDecision | None) -> list[Comparison]:
    """Every metric that either side has, in the order they were measured."""
    ours, theirs = measured.candidate, measured.champion
    reasons = {r.check: r for r in decision.reasons} if decision else {}
    return [
        Comparison(
            metric=name,
            champion=theirs.means.get(name),
            candidate=ours.means.get(name),
            difference=mean_estimate(measured.paired(name).differences.tolist()),
            invalid=ours.invalid.get(name, 0) + theirs.invalid.get(name, 0),
            reason=reasons.get(name),
        )
        for name in dict.fromkeys([*theirs.means, *ours.means])
    ]


def terminal_table(decision: GateDecision, measured: Measurements) -> Table:
    """The decision for a terminal."""
    word = "[bold green]promote[/]" if decision.promote else "[bold red]refused[/]"
    table = Table(title=f"Gate: {word}", title_justify="left", caption_justify="left")
    table.add_column("metric")
    for title in ("champion", "candidate", "difference"):
        table.add_column(title, justify="right")
    table.add_column("gate")
    for row in compare(measured, decision):
        change = "\n".join(filter(None, row.change()))
        values = (escape(row.metric), row.side("champion")[0], row.side("candidate")[0], change)
        table.add_row(*values, _mark(row.reason))
    if (win := decision.win) is not None:
        name = "win rate (simulated)" if measured.simulated else "win rate"
        interval = f"{percent(win.low)} to {percent(win.high)}"
        reason = next((r for r in decision.reasons if r.check == "win"), None)
        table.add_section()
        table.add_row(name, "", percent(win.rate), interval, _mark(reason))
    told = [*(r.detail for r in decision.reasons if not r.passed), *decision.warnings]
    table.caption = escape("\n".join(told))
    return table


def _mark(reason: Reason | None) -> str:
    if reason is None:
        return ""
    return "[green]pass[/]" if reason.passed else "[red]fail[/]"


def number(value: float, *, sign: bool = False) -> str:
    """Three figures, with a real minus."""
    size = abs(value)
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    return text.replace("-", "−")


def percent(value: float) -> str:
    """A share with one decimal."""
    return f"{value:.1%}"


def _interval(estimate: Estimate, show: Callable[[float], str]) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{show(estimate.low)} to {show(estimate.high)}"
