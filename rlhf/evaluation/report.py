"""The report: one HTML file with everything in it, for a browser, a phone or a printer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from feedback_store.fields import printable
from rlhf.evaluation.charts import interval_chart, line_chart
from rlhf.evaluation.compare import compare, number
from rlhf.evaluation.curves import curves
from rlhf.evaluation.evaluate import Sample
from rlhf.evaluation.forgetting import Progress, page_rows
from rlhf.evaluation.gate import GateDecision
from rlhf.evaluation.measurements import Measurements
from rlhf.evaluation.templating import template
from rlhf.evaluation.winrate import WinRate
from rlhf.files import write_text

# Told in samples beside the answers; the rest stands in the table of means.
_SHOWN_SCORES = ("total", "length", "rougeL")


@dataclass(frozen=True)
class ReportData:
    """What a report tells; every part that is empty is left out.

    `curves` are rows of `metrics.jsonl`. `lineage` goes from the base to the policy, each step a
    mapping with `kind`, `id` and whatever else is worth a word. `progress` is what the `stages` of
    a curriculum made of each one's held-out rows. `simulated` says that the votes which trained the
    policy were not people's; `withheld`, why what the gate passed isn't released.
    """

    title: str
    measurements: Measurements | None = None
    decision: GateDecision | None = None
    samples: Sequence[Sample] = ()
    curves: Sequence[Mapping[str, Any]] = ()
    lineage: Sequence[Mapping[str, Any]] = ()
    stages: Sequence[str] = ()
    progress: Sequence[Progress] = ()
    simulated: bool = False
    withheld: str | None = None
    created_at: str = ""
    most_samples: int = 20


def write_report(path: Path, data: ReportData) -> None:
    """Write the report in one step."""
    write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The report as one HTML page that loads nothing and runs nothing."""
    measured, decision = data.measurements, data.decision
    win = decision.win if decision else measured.win_rate() if measured else None
    html = template("report.html.jinja").render(
        data=data,
        verdict=_verdict(decision),
        simulated=data.simulated or (measured is not None and measured.simulated),
        win=win,
        win_chart=_win_chart(win),
        comparisons=compare(measured, decision) if measured else [],
        progress=page_rows(data.progress),
        charts=_charts(data.curves),
        samples=[_sample_view(s) for s in data.samples[: data.most_samples]],
    )
    # A control character or half a surrogate pair in an answer would spoil the file.
    return printable(html)


def _verdict(decision: GateDecision | None) -> tuple[str, str]:
    if decision is None:
        return "open", "No decision"
    return ("good", "Promote") if decision.promote else ("bad", "Refused")


def _win_chart(win: WinRate | None) -> Markup | None:
    if win is None:
        return None
    told = f"win rate {win.rate:.1%}, interval {win.low:.1%} to {win.high:.1%}"
    return interval_chart(win.low, win.rate, win.high, 0.5, label=told)


def _charts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Charts by stage, in the order of the stages."""
    by_stage: dict[str, list[dict[str, Any]]] = {}
    for curve in curves(rows):
        told = f"{curve.name} over steps of {curve.stage}"
        chart = line_chart(curve.series, label=told)
        by_stage.setdefault(curve.stage, []).append(
            {"name": curve.name, "series": list(curve.series), "svg": chart}
        )
    return by_stage


def _sample_view(sample: Sample) -> dict[str, Any]:
    *earlier, last = sample.messages or ({"role": "user", "content": ""},)
    sides = (
        ("champion", sample.champion, sample.champion_scores),
        ("candidate", sample.candidate, sample.candidate_scores),
    )
    return {
        "earlier": earlier,
        "last": last,
        "style": sample.style,
        "reference": sample.reference,
        "verdict": sample.verdict,
        "answers": [
            {
                "side": side,
                "text": text,
                "wins": sample.verdict == side,
                "scores": _shown(scores),
                "violates": (scores.get("compliance") or 0.0) < 1.0 and "compliance" in scores,
            }
            for side, text, scores in sides
        ],
    }


def _shown(scores: Mapping[str, float | None]) -> list[tuple[str, str]]:
    return [
        (name, number(value))
        for name, value in scores.items()
        if value is not None and (name in _SHOWN_SCORES or name.startswith("reward/"))
    ]
