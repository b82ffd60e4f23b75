"""The coverage and balance report as one HTML page: what to mend first, then what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feedback_store.fields import printable
from rlhf.evaluation.charts import column_chart
from rlhf.evaluation.templating import template
from rlhf.files import write_text

_MOST_INTENTS, _MOST_STYLES = 50, 10
_MOST_USERS, _MOST_PROMPTS = 10, 15
_WORDS = {"counter_question": "counter-question"}


def coverage_page(document: Mapping[str, Any], title: str = "Data") -> str:
    """The page of a `Coverage.document`; it loads nothing and runs nothing."""
    html = template("coverage.html.jinja").render(
        title=title,
        found=document,
        styles=_columns(document["intents"]),
        heat=_heat(document["intents"]),
        bars=_bars(document),
        lengths={part: _lengths(part, told) for part, told in document["lengths"].items()},
        users=document["users"]["largest"][:_MOST_USERS],
        prompts=document["prompts"]["largest"][:_MOST_PROMPTS],
        words=_words(document["vocabulary"]["top"]),
        synthetic=sum(told["share"] for told in document["synthetic"].values()),
    )
    return printable(html)


def write_coverage(path: Path, document: Mapping[str, Any], title: str = "Data") -> None:
    """Write the page in one step."""
    write_text(path, coverage_page(document, title))


def _columns(intents: Mapping[str, Any]) -> list[str]:
    """The styles that have a column of their own."""
    return list(intents["styles"])[:_MOST_STYLES]


def _heat(intents: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Intents × styles; `warmth` is a cell's colour, in percent of the fullest cell's."""
    columns = _columns(intents)
    fullest = max((max(e["styles"].values(), default=0) for e in intents["table"]), default=0)
    rows = []
    for entry in intents["table"][:_MOST_INTENTS]:
        counts = [entry["styles"].get(style, 0) for style in columns]
        rows.append(
            {
                **entry,
                "cells": [(n, _warmth(n, fullest)) for n in counts],
                "rest": entry["rows"] - sum(counts),
            }
        )
    return rows


def _warmth(count: int, fullest: int) -> int:
    # By the root, so that small cells still show; to 60 %, so that figures can be read.
    return round(60 * (count / fullest) ** 0.5) if fullest else 0


def _bars(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Shares drawn as bars, by the section's title."""
    parts = {
        "Path stages": document["stages"],
        "Languages": document["languages"],
        "The user's turns": document["turns"],
        "Shapes": document["shapes"],
    }
    return {
        title: [{"name": _WORDS.get(name, name), **told} for name, told in shares.items()]
        for title, shares in parts.items()
        if shares
    }


def _lengths(part: str, told: Mapping[str, Any]) -> dict[str, Any]:
    columns = [(_short(bar["from"]), bar["share"]) for bar in told["bars"]]
    chart = column_chart(columns, label=f"lengths of {part}s")
    return {"chart": chart, "quantiles": told}


def _short(length: int) -> str:
    return str(length) if length < 1024 else f"{length / 1024:g}k"


def _words(top: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    most = max((times for _, times in top), default=1)
    return [
        {"word": word, "times": times, "size": f"{0.85 + 0.75 * times / most:.2f}"}
        for word, times in top
    ]
