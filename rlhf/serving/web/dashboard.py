"""What the dashboard shows, as JSON for its script and as CSV for everybody else's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from feedback_store import Store
from feedback_store.store import utc_now
from rlhf.serving.access import Caller, needs
from rlhf.serving.answer_sample import REWARDS
from rlhf.serving.charts import Chart, charts, compliant, in_style, rate, reward, up_rate
from rlhf.serving.figure_tables import (
    Cell,
    Group,
    Span,
    Table,
    View,
    first_week,
    moment,
    read_table,
)
from rlhf.serving.next_update import next_update
from rlhf.serving.problems import Problem
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage
from rlhf.serving.web.pages import shell

page = APIRouter(include_in_schema=False)
router = APIRouter(prefix="/web", include_in_schema=False)

Reviewer = Annotated[Caller, Depends(needs("review"))]
Values = dict[str, Any]
_MOST_GROUPS: Final = 200
"""Of the table of groups."""


@page.get("/dashboard")
async def dashboard(request: Request) -> HTMLResponse:
    """What comes in, and what people say of it."""
    return shell(request, "dashboard")


def view_of(range: Span = "7d", by: Group = "policy", simulated: bool = False) -> View:
    """A request's range, groups and origin."""
    return View(range, by, simulated)


Wanted = Annotated[View, Depends(view_of)]


@router.get("/dashboard")
async def figures(request: Request, caller: Reviewer, view: Wanted) -> Response:
    """All charts, the table of groups and the state of things."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    project, runs = service.config.project, service.config.runs

    def read(store: Store) -> str:  # made in the thread: some 10,000 numbers
        return json.dumps(_board(store, project, runs, view, utc_now()), allow_nan=False)

    return Response(await storage.run(read), media_type="application/json")


@router.get("/dashboard/{name}.csv")
async def numbers(request: Request, caller: Reviewer, view: Wanted, name: str) -> Response:
    """The numbers behind a chart, or behind the table of groups (`groups`)."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    project, now = service.config.project, utc_now()

    def read(store: Store) -> str:
        table, found = _charts(store, project, view, now)
        if name == "groups":
            return csv_of(_group_lines(table, view))
        if name not in found:
            raise Problem(404, "no such chart", code="not_found")
        return csv_of(_lines(table, found[name]))

    text = await storage.run(read)
    file = f"{name}-{view.by}-{view.span}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _board(store: Store, project: str, runs: Path, view: View, now: datetime) -> Values:
    table, found = _charts(store, project, view, now)
    champion = store.champion(project)
    waiting = next_update(store, runs, project)
    return {
        "project": project,
        "range": view.span,
        "by": view.by,
        "simulated": view.simulated,
        "at": now.isoformat(),
        "counting": _counting(store, project),
        "begins": [hour * 3600 for hour in table.hours],
        "seconds": table.width * 3600,
        "champion": None if champion is None else champion.id,
        "next_update": waiting and {**asdict(waiting), "missing": waiting.missing},
        "last": _last(table, now),
        "total": _summary(table.totals[None]),
        "groups": [
            {"group": name, **_summary(table.totals[name])} for name in table.groups[:_MOST_GROUPS]
        ],
        "more_groups": max(0, len(table.groups) - _MOST_GROUPS),
        "charts": {
            name: {"unit": chart.unit, "series": [vars(line) for line in chart.series]}
            for name, chart in found.items()
        },
    }


def _charts(
    store: Store, project: str, view: View, now: datetime
) -> tuple[Table, dict[str, Chart]]:
    table = read_table(store, project, view, now)
    champion = store.champion(project)
    usual = first_week(store, project, champion.id if champion else "", view.simulated)
    return table, charts(table, now, usual)


def _counting(store: Store, project: str) -> Values:
    """How far the counts are; a page says so while they are behind."""
    upto, watermark = store.counted(project).upto, store.watermark()
    share = upto / watermark if watermark else 1.0
    return {"upto": upto, "watermark": watermark, "share": min(1.0, share)}


def _last(table: Table, now: datetime) -> Values:
    """The column that is under way."""
    cell, seconds = table.cells[None][-1], table.seconds(len(table.hours) - 1, now)
    return {"answers": cell["answers"], "per_second": cell["answers"] / seconds}


def _summary(cell: Cell) -> Values:
    """A group's figures over the whole range."""
    return {
        "answers": cell["answers"],
        "up": cell["up"],
        "down": cell["down"],
        "votes": sum(cell[n] for n in ("thumbs", "ratings", "corrections", "comparisons")),
        "comments": cell["comments"],
        "up_rate": asdict(up_rate(cell)),
        "rating": cell["rating_sum"] / 1_000 / cell["ratings"] if cell["ratings"] else None,
        "first_token_p50": cell.quantile("first_token_ms", 0.5),
        "first_token_p95": cell.quantile("first_token_ms", 0.95),
        "tokens_per_s_p50": cell.quantile("tokens_per_s", 0.5),
        "characters_p50": cell.quantile("characters", 0.5),
        "in_style": asdict(in_style(cell)),
        "not_blocked": asdict(compliant(cell)),
        "failed": asdict(rate(cell["error"], cell["answers"])),
        "rewards": {name: reward(cell, name) for name in REWARDS},
    }


def _lines(table: Table, chart: Chart) -> Iterator[list[Any]]:
    yield ["time", "group", "series", "value", "low", "high", "n"]
    for line in chart.series:
        group = "(all)" if line.group is None else line.group
        sides = [line.low, line.high, line.n]
        for at, (hour, value) in enumerate(zip(table.hours, line.values, strict=True)):
            yield [moment(hour), group, line.stat, value, *(side and side[at] for side in sides)]


def _group_lines(table: Table, view: View) -> Iterator[list[Any]]:
    rows = {"(all)": _flat(_summary(table.totals[None]))}
    rows |= {name: _flat(_summary(table.totals[name])) for name in table.groups}
    yield [view.by, *rows["(all)"]]
    for name, row in rows.items():
        yield [name, *row.values()]


def _flat(values: Values, start: str = "") -> Values:
    flat: Values = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{start}{name}_")
        else:
            flat[start + name] = value
    return flat


def csv_of(lines: Iterable[list[Any]]) -> str:
    """Lines as CSV that a spreadsheet reads as text and numbers, never as a formula."""
    out = io.StringIO()
    csv.writer(out).writerows([_safe(value) for value in line] for line in lines)
    return out.getvalue()


def _safe(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and value.lstrip().startswith(tuple("=+-@＝＋－＠|%")):
        return f"'{value}"
    return value
