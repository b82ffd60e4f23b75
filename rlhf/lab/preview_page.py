"""The preview as a page: sliders for weights, picks and predicted gains that follow them.

What policies and users said goes into the page as JSON in which nothing can end the script
element, and from there into text nodes. The one script that may run is named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from feedback_store.fields import printable
from rlhf.evaluation.charts import line_chart
from rlhf.evaluation.compare import number
from rlhf.evaluation.estimate import Estimate, student_quantile
from rlhf.evaluation.templating import template
from rlhf.files import script_json, write_text
from rlhf.lab.measures import Combining, Floats, Measured
from rlhf.lab.preview import Preview
from rlhf.runs import now

MOST_PROMPTS = 40
"""Prompts whose answers the page shows; its figures are of all."""


def write_page(path: Path, found: Preview) -> None:
    """One HTML file that loads nothing."""
    script = template("preview.js.jinja").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = template("preview.html.jinja").render(
        found=found,
        created_at=now(),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        data=Markup(script_json(_data(found))),
        table=_table(found),
        chart=_chart(found),
        bound=found.curves[found.config.measured_by][-1].kl_bound,
        n=found.config.samples,
    )
    write_text(path, printable(html))


def _data(found: Preview) -> dict[str, Any]:
    """What the script works on; a number that is none is null."""
    scores, how = found.measured.scores, found.config.combining
    prompts = len(found.answers.asked)
    columns = found.measured.columns()
    return {
        "components": [
            {
                "label": label,
                "veto": bool(scores.veto[at]),
                "values": _plain(_scaled(found.measured, at, how)),
                "weights": _plain(scores.weights[:, at].reshape(found.measured.shape)),
                "failed": scores.invalid[:, at].reshape(found.measured.shape).tolist(),
            }
            for at, label in enumerate(scores.labels)
        ],
        "mixes": found.parts.weights,
        "yardstick": found.config.measured_by,
        "mean": how.normalise == "mean",
        "veto_score": how.veto_score,
        "measures": [{"name": n, "values": _plain(v)} for n, v in columns.items()],
        "samples": found.config.samples,
        # Student's quantile by the degrees of freedom, for intervals over prompts.
        "quantiles": [None, *(student_quantile(0.975, df) for df in range(1, prompts))],
        "prompts": [
            {
                "text": question.prompt.messages[-1]["content"],
                "style": question.prompt.style,
                "answers": [c.text for c in drawn],
            }
            for question, drawn in zip(
                found.answers.asked[:MOST_PROMPTS], found.answers.drawn, strict=False
            )
        ],
    }


def _scaled(measured: Measured, at: int, how: Combining) -> Floats:
    """A component's scores as they go into a sum; of a veto's only the sign counts."""
    scores = measured.scores
    if how.normalise != "zscore" or scores.veto[at]:
        return scores.raw[:, at].reshape(measured.shape)
    plain = replace(measured, scores=replace(scores, weights=np.ones_like(scores.weights)))
    return plain.totals({scores.labels[at]: 1.0}, how)


def _plain(values: Floats) -> list[list[float | None]]:
    rows = np.where(np.isnan(values), 0.0, values).round(6).tolist()
    gaps = np.isnan(values).tolist()
    return [
        [None if gap else v for v, gap in zip(row, gap_row, strict=True)]
        for row, gap_row in zip(rows, gaps, strict=True)
    ]


def _table(found: Preview) -> list[dict[str, Any]]:
    """Every measure's change for the best of n, mix by mix."""
    last = {name: found.curves[name][-1].changes for name in found.order}
    measures = next(iter(last.values()))
    return [
        {"measure": name, "cells": [_cell(changes[name]) for changes in last.values()]}
        for name in measures
        if name != "total"
    ]


def _cell(estimate: Estimate | None) -> Mapping[str, Any]:
    if estimate is None:
        return {"mean": "–", "interval": "", "sure": False}
    if estimate.low is None or estimate.high is None:
        return {"mean": number(estimate.mean, sign=True), "interval": "", "sure": False}
    return {
        "mean": number(estimate.mean, sign=True),
        "interval": f"{number(estimate.low, sign=True)} to {number(estimate.high, sign=True)}",
        "sure": estimate.low > 0 or estimate.high < 0,
    }


def _chart(found: Preview) -> dict[str, Any]:
    """Gain by the yardstick against the bound on KL, a line a mix."""
    series = {
        name: [
            (point.kl_bound, gain.mean)
            for point in found.curves[name]
            if (gain := point.changes["yardstick"]) is not None
        ]
        for name in found.order
    }
    label = f"gain by {found.config.measured_by} against the bound on KL"
    svg = line_chart(series, label=label, across="KL at most, nats", whole=False)
    return {"series": list(series), "svg": svg}
