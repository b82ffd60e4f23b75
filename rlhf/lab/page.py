"""The page of `rlhf rewards compare`: one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from feedback_store.fields import printable
from rlhf.evaluation.charts import line_chart, share_chart
from rlhf.evaluation.compare import number
from rlhf.evaluation.templating import template
from rlhf.files import write_text
from rlhf.lab.accuracy import Agreement
from rlhf.lab.calibration import Calibration
from rlhf.lab.comparison import Comparison, Dispute, Subject


def write_page(path: Path, found: Comparison, title: str) -> None:
    """Write it in one step. The texts of the votes that scores contradict are in it."""
    rows = sorted(found.subjects, key=_by_agreement, reverse=True)
    order = [found.subjects.index(row) for row in rows]
    html = template("rewards.html.jinja").render(
        title=title,
        found=_reordered(found, order),
        rows=rows,
        groups=_groups(rows),
        curves=_curves(rows),
        disputes={row.name: [_dispute(d) for d in row.disputes] for row in rows if row.disputes},
        agreement=_agreement,
        correlation=_correlation,
    )
    write_text(path, printable(html))


def _by_agreement(subject: Subject) -> float:
    told = subject.pairs or subject.thumbs
    return told.rate if told else -1.0


def _reordered(found: Comparison, order: list[int]) -> Comparison:
    matrix = [[found.correlations[i][j] for j in order] for i in order]
    return Comparison(**{**vars(found), "correlations": matrix})


def _agreement(told: Agreement | None) -> Markup:
    if told is None:
        return Markup("–")
    words = f"{told.rate:.1%}, {told.low:.1%} to {told.high:.1%} of {told.n} votes"
    return Markup(
        '<div class="change">{chart}<span>{rate}<small>{low} to {high}</small></span></div>'
    ).format(
        chart=share_chart(told.low, told.rate, told.high, label=words),
        rate=f"{told.rate:.1%}",
        low=f"{told.low:.1%}",
        high=f"{told.high:.1%}",
    )


def _correlation(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def _groups(rows: list[Subject]) -> dict[str, list[str]]:
    """Each group's values, in the order in which any subject has them."""
    groups: dict[str, dict[str, None]] = {}
    for row in rows:
        for group, values in row.slices.items():
            groups.setdefault(group, {}).update(dict.fromkeys(values))
    return {group: list(values) for group, values in groups.items()}


def _curves(rows: list[Subject]) -> dict[str, Markup]:
    several = any(len(row.calibration) > 1 for row in rows)
    return {
        f"{row.name} · {votes}" if several else row.name: _curve(row.name, told)
        for row in rows
        for votes, told in row.calibration.items()
    }


def _curve(name: str, told: Calibration) -> Markup:
    points = [(100.0 * predicted, 100.0 * seen) for predicted, seen, _ in told.bins]
    ends = [min(x for x, _ in points), max(x for x, _ in points)]
    series = {"voted": points, "predicted": [(x, x) for x in ends]}
    return line_chart(series, label=f"Calibration of {name}", across="predicted, %")


def _dispute(dispute: Dispute) -> dict[str, Any]:
    record = dispute.record
    *earlier, last = record.prompt
    if record.shape == "preference":
        texts = (("chosen", record.chosen, True), ("rejected", record.rejected, False))
    else:
        up = bool(record.label)
        texts = (("up" if up else "down", record.completion, up),)  # type: ignore[assignment]
    return {
        "earlier": earlier,
        "last": last,
        "size": dispute.size,
        "style": record.style,
        "answers": [
            {"said": said, "text": text, "liked": liked, "score": number(score)}
            for (said, text, liked), score in zip(texts, dispute.scores, strict=True)
        ],
    }
