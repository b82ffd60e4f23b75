"""The lineage page: from any thing a few steps back and on, and the votes that made a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from feedback_store import Comparison, Feedback, Interaction, NotFound, Store
from feedback_store.snapshots.vote_index import draw_votes
from rlhf.lineage import Bounds, Facts, Ledger, candidates, read_ledger, walk
from rlhf.lineage.graph import COLUMNS, graph
from rlhf.lineage.ledger import located
from rlhf.serving.access import needs
from rlhf.serving.indexing import Indexing
from rlhf.serving.problems import Problem
from rlhf.serving.run_folders import Unreadable, plain, run_folder
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage
from rlhf.serving.web.pages import shell

router = APIRouter(include_in_schema=False)
_REVIEWER: Final = [Depends(needs("review"))]

_DEPTH: Final = 3
_NODES: Final = 40
_MOST_CHARS: Final = 4_000
_CHOICES: Final = 12
_indexes: Final = Indexing()


@router.get("/lineage")
def page(request: Request) -> HTMLResponse:
    """The picture around `?id=<id>`, or around the champion."""
    return shell(request, "lineage")


@router.get("/web/lineage", dependencies=_REVIEWER)
async def around(
    request: Request,
    id: Annotated[str | None, Query(max_length=300)] = None,
    breadth: Annotated[int, Query(ge=1, le=30)] = 6,
) -> dict[str, Any]:
    """What is up to three steps from a thing; `choices` where the beginning of an id names many.

    `counting` says how many data sets are still being read: ask again a little later.
    """
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    runs, project = service.config.runs, service.config.project
    bounds = Bounds(_DEPTH, breadth, _NODES)
    return await storage.run(lambda store: _around(store, runs, project, id, bounds))


@router.get("/web/lineage/votes", dependencies=_REVIEWER)
async def votes(
    request: Request,
    snapshot: Annotated[str, Query(max_length=128)],
    most: Annotated[int, Query(ge=1, le=100)] = 20,
    draw: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> dict[str, Any]:
    """Votes behind the rows of a snapshot, drawn from all of them, with what they speak of."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage

    def read(store: Store) -> dict[str, Any]:
        known = located(store.snapshot(snapshot), service.config.runs)
        if not Path(known.path).is_dir():
            raise Problem(404, "the files of this snapshot are gone", code="not_found")
        ids = draw_votes(Path(known.path), most, draw)
        return {"votes": [told for id in ids if (told := _vote(store, id)) is not None]}

    return await storage.run(read)


def _around(
    store: Store, runs: Path, project: str, given: str | None, bounds: Bounds
) -> dict[str, Any]:
    ledger = read_ledger(store, runs)
    if not given:
        champion = store.champion(project)
        if champion is None:
            return {"chosen": None, "nodes": [], "edges": [], "counting": 0}
        given = champion.id
    near = candidates(store, ledger, given.strip())
    if not near:
        message = f"{given[:60]}: nothing has this id, or one that begins so"
        raise Problem(404, message, code="not_found")
    if len(near) > 1:
        shown = near[:_CHOICES]
        return {"chosen": None, "choices": [{"kind": kind, "id": id} for kind, id in shown]}
    ((kind, id),) = near
    facts = Facts(store, ledger, runs, _indexes.of, brief=True)
    picture = graph(walk(facts, kind, id, bounds), ledger, lambda id: _kind_of(store, id))
    picture.things[picture.chosen].facts.update(_whole(store, ledger, runs, kind, id))
    return {"columns": COLUMNS, **plain(picture.document()), "counting": len(_indexes)}


def _whole(store: Store, ledger: Ledger, runs: Path, kind: str, id: str) -> dict[str, Any]:
    """What is told of the chosen thing alone."""
    if kind == "run":
        run = run_folder(runs, id)
        try:
            return {"config": run.text("config.yaml", 200_000) if run else None}
        except Unreadable as error:
            return {"config": f"# {error}"}
    if kind in ("feedback", "comparison"):
        return {"said": _vote(store, id)}
    if kind == "interaction":
        return {"said": _answer(store.interaction(id))}
    return {"learned_from": _snapshot_of(ledger, kind, id)}


def _snapshot_of(ledger: Ledger, kind: str, id: str) -> str | None:
    """The snapshot whose votes made a thing."""
    policy = id
    if kind == "snapshot":
        return id if id in ledger.snapshots and id not in ledger.erased else None
    if kind == "release":
        policy = ledger.releases[int(id)].policy
    elif kind == "decision":
        policy = ledger.decisions[id].candidate
    made = ledger.made.get(policy)
    found = made.snapshot if made else None
    return found if found in ledger.snapshots and found not in ledger.erased else None


def _kind_of(store: Store, id: str) -> str | None:
    try:
        return type(store.vote(id)).__name__.lower()
    except NotFound:
        return None


def _vote(store: Store, id: str) -> dict[str, Any] | None:
    """A vote with its question and answers, and nothing of who voted; None for one that went."""
    try:
        vote = store.vote(id)
        about = (vote.a, vote.b) if isinstance(vote, Comparison) else (vote.interaction,)
        answers = [_answer(store.interaction(one)) for one in about]
    except NotFound:
        return None
    told = {"id": vote.id, "created_at": str(vote.created_at), "simulated": vote.simulated}
    return {**told, **_word(vote), "prompt": answers[0]["prompt"], "answers": answers}


def _word(vote: Feedback | Comparison) -> dict[str, Any]:
    if isinstance(vote, Comparison):
        return {"kind": "comparison", "choice": vote.choice, "withdrawn": vote.withdrawn}
    shown = {"kind", "metric", "value", "text", "reasons", "withdrawn"}
    told = vote.model_dump(mode="json", include=shown)
    return {**told, "text": _cut(vote.text)}


def _answer(row: Interaction) -> dict[str, Any]:
    asked = next((m.content for m in reversed(row.messages) if m.role == "user"), "")
    return {"id": row.id, "prompt": _cut(asked), "answer": _cut(row.response)}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MOST_CHARS else text[:_MOST_CHARS] + "…"
