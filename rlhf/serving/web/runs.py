"""The runs page: what was trained and judged, with curves that grow while a run goes on."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from rlhf.serving.access import needs
from rlhf.serving.problems import Problem
from rlhf.serving.run_curves import Place, read_curves
from rlhf.serving.run_folders import RunFolder, Unreadable, run_folder, run_folders
from rlhf.serving.run_summaries import REPORT, Watch, details, samples, summary
from rlhf.serving.service import Service
from rlhf.serving.web.pages import shell

router = APIRouter(include_in_schema=False)
_REVIEWER: Final = [Depends(needs("review"))]

_PAGE: Final = 20
_MOST_REPORT: Final = 40_000_000
_REPORT_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
        "base-uri 'none'; form-action 'none'; sandbox"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
"""A report holds what models and users wrote: it is shown, and may do nothing."""

Name = Annotated[str, Path(max_length=200)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]


@router.get("/runs")
def page(request: Request) -> HTMLResponse:
    """The list, or `?run=<name>`."""
    return shell(request, "runs")


@router.get("/web/runs", dependencies=_REVIEWER)
async def listed(
    request: Request, offset: Offset = 0, stage: Annotated[str | None, Query(max_length=40)] = None
) -> dict[str, Any]:
    """A page of the runs, the last begun first."""
    root = _root(request)

    def read() -> dict[str, Any]:
        runs, watch = run_folders(root), Watch(root)
        shown = [run for run in runs if stage in (None, "", run.stage)]
        rows = [asdict(summary(run, watch)) for run in shown[offset : offset + _PAGE]]
        stages = sorted({run.stage for run in runs})[:40]
        return {"runs": rows, "count": len(shown), "page": _PAGE, "stages": stages}

    return await asyncio.to_thread(read)


@router.get("/web/runs/{name}", dependencies=_REVIEWER)
async def one(
    request: Request, name: Name, after: Annotated[str | None, Query(max_length=40)] = None
) -> dict[str, Any]:
    """A run with its curves; with `after` (what an answer called `next`) only what came since."""
    root = _root(request)

    def read() -> dict[str, Any]:
        run = _run(root, name)
        place = Place.parse(after)
        found = read_curves(run, place)
        head = asdict(summary(run, Watch(root)))
        told = {
            **head,
            "from": str(found.begun),
            "next": str(found.end),
            "series": [asdict(one) for one in found.series],
            "problems": [*head["problems"], *found.problems],
        }
        if after is None or found.begun != place:
            more = details(run)
            told["problems"] = list(dict.fromkeys([*told["problems"], *more.pop("problems")]))
            told |= more
        return told

    return await asyncio.to_thread(read)


@router.get("/web/runs/{name}/samples", dependencies=_REVIEWER)
async def said(
    request: Request,
    name: Name,
    offset: Offset = 0,
    most: Annotated[int, Query(ge=1, le=100)] = 10,
) -> dict[str, Any]:
    """A page of questions and answers that the run kept."""
    root = _root(request)
    return await asyncio.to_thread(lambda: samples(_run(root, name), offset, most))


@router.get("/web/runs/{name}/report", dependencies=_REVIEWER)
async def report(request: Request, name: Name) -> Response:
    """`report.html` as it is, for a frame that lets it do nothing."""
    root = _root(request)

    def read() -> str | None:
        try:
            return _run(root, name).text(REPORT, _MOST_REPORT)
        except Unreadable as error:
            raise Problem(422, str(error), code="unreadable_report") from error

    html = await asyncio.to_thread(read)
    if html is None:
        raise Problem(404, "this run has no report", code="not_found")
    return HTMLResponse(html, headers=_REPORT_HEADERS)


def _root(request: Request) -> FilePath:
    service: Service = request.app.state.service
    return service.config.runs


def _run(root: FilePath, name: str) -> RunFolder:
    run = run_folder(root, name)
    if run is None:
        raise Problem(404, "no run of this name", code="not_found")
    return run
