"""The experiment as a page: gain against KL, and every variant's measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from feedback_store.fields import printable
from rlhf.evaluation.charts import point_chart
from rlhf.evaluation.compare import number
from rlhf.evaluation.estimate import Estimate
from rlhf.evaluation.templating import template
from rlhf.files import write_text
from rlhf.lab.experiment import Experiment
from rlhf.lab.foretold import Foretold
from rlhf.lab.outcome import Outcome, front
from rlhf.runs import now

_BADGE = {"kept": "good", "unsure": "open", "broken": "bad"}


def write_page(path: Path, done: Experiment, told: Foretold | None) -> None:
    """One HTML file that loads nothing and runs nothing."""
    best = front(done.outcomes)
    ordered = sorted(done.outcomes, key=lambda o: -o.gain)
    html = template("experiment.html.jinja").render(
        done=done,
        told=told,
        best=best,
        created_at=now(),
        chart=_chart(ordered, best) if ordered else None,
        rows=[_row(place, o, best) for place, o in enumerate(ordered, 1)],
        measures=_measures(ordered),
    )
    write_text(path, printable(html))


def _chart(ordered: Sequence[Outcome], best: Sequence[str]) -> Markup:
    at = {o.name: (o.distance, o.gain) for o in ordered if o.kl is not None}
    points = {
        str(place): (*at[o.name], _side(o, best))
        for place, o in enumerate(ordered, 1)
        if o.name in at
    }
    line = [at[name] for name in best if name in at]
    told = "gain by the yardstick against KL, one point a variant"
    return point_chart(points, line, label=told, across="KL from the start, nats an answer")


def _side(outcome: Outcome, best: Sequence[str]) -> str:
    if outcome.broken:
        return "bad"
    return "sure" if outcome.name in best else "open"


def _row(place: int, outcome: Outcome, best: Sequence[str]) -> dict[str, Any]:
    return {
        "place": place,
        "name": outcome.name,
        "gain": told(outcome.gains["yardstick"], sign=True),
        "own": told(outcome.gains["total"], sign=True),
        "kl": told(outcome.kl),
        "front": outcome.name in best,
        "guardrails": [(name, _BADGE[v], v) for name, v in outcome.guardrails.items()],
    }


def _measures(ordered: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Every measure's change, variant by variant."""
    names = [n for n in ordered[0].gains if n not in ("yardstick", "total")] if ordered else []
    return [
        {"measure": name, "cells": [told(o.gains[name], sign=True) for o in ordered]}
        for name in names
    ]


def told(estimate: Estimate | None, *, sign: bool = False) -> tuple[str, str, bool]:
    """A mean, its interval, and whether that is clear of 0."""
    if estimate is None:
        return "–", "", False
    mean = number(estimate.mean, sign=sign)
    if estimate.low is None or estimate.high is None:
        return mean, "", False
    interval = f"{number(estimate.low, sign=sign)} to {number(estimate.high, sign=sign)}"
    return mean, interval, estimate.low > 0 or estimate.high < 0
