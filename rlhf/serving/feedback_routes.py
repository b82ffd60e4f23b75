"""Votes on answers. A 2xx means committed to disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import Field

from feedback_store import Feedback, Store
from rlhf.serving.access import Caller, needs
from rlhf.serving.bodies import read_body, takes
from rlhf.serving.problems import Problem, problem_of
from rlhf.serving.responses import errors
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage
from rlhf.serving.vote_types import BatchStored, LiveVote, Vote, Votes, VoteStored, feedback_of
from rlhf.serving.voters import Voice, may_vote, voice_of

router = APIRouter(tags=["feedback"])

ONE = "/v1/interactions/{id}/feedback/{metric}"
ID = r"^[A-Za-z0-9._:-]{1,128}$"
METRIC = r"^[\w.:+ -]{1,64}$"
Id = Annotated[str, Path(pattern=ID, description="The answer's id, as its server gave it.")]
Metric = Annotated[str, Path(pattern=METRIC, description="By itself, a kind: thumb, rating, …")]
Key = Annotated[
    Annotated[str, Field(min_length=1, max_length=128)] | None,
    Header(
        alias="Idempotency-Key",
        description="The same body under the same key is stored once, however often it comes.",
    ),
]
Named = Annotated[
    Annotated[str, Field(min_length=1, max_length=512)] | None,
    Query(alias="voter", description="Whose vote, with an API key; a token knows its voter."),
]
OfOne = Annotated[Voice, Depends(may_vote("id"))]


class _Thin(APIRoute):
    """A route whose parameters are on the page as ever, and read by hand.

    FastAPI's general way to them takes as long as all the rest of a vote.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the parameters that `vote` declares."""

        async def handle(request: Request) -> Response:
            id, metric = request.path_params["id"], request.path_params["metric"]
            voice = await voice_of(request, [id])
            for name, given, pattern in (("id", id, ID), ("metric", metric, METRIC)):
                if not re.fullmatch(pattern, given):
                    raise Problem(400, f"{name}: should match {pattern}", param=name)
            return await vote(request, id, metric, voice)

        return handle


votes = APIRouter(tags=["feedback"], route_class=_Thin)


@votes.put(
    ONE,
    summary="Vote on an answer, or change your mind",
    response_model=VoteStored,
    responses={
        202: {
            "model": VoteStored,
            "description": "On disk; it counts as soon as the answer is recorded.",
        },
        **errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503),
    },
    openapi_extra=takes(
        Vote,
        thumb={"value": 1, "voter": "user-17"},
        comment={"text": "Kind, but too long.", "voter": "user-17"},
        correction={"text": "Your parcel comes on Friday.", "voter": "user-17"},
    ),
)
async def vote(
    request: Request, id: Id, metric: Metric, voice: OfOne, _key: Key = None
) -> Response:
    """One voter has one live vote on an answer under a metric; the last one holds."""
    body = await read_body(request, Vote)
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    word = feedback_of(
        body,
        service.store.metrics,
        interaction=id,
        metric=metric,
        voter=voice.votes_as(body.voter, service),
    )
    if (key := voice.own_key(request)) is None:
        live = await storage.vote(word)
    else:
        live = await storage.run(lambda store: _once(store, storage, word, key))
    service.telemetry.voted(word.kind)
    stored = {"interaction": id, "metric": metric, "waiting": not live}
    return JSONResponse(stored, 200 if live else 202)


def _once(store: Store, storage: Storage, word: Feedback, key: str) -> bool:
    store.append(feedback=[word], wait=True, idempotency_key=key)
    return storage.has(word.interaction)


@router.get(
    ONE,
    summary="Your live vote",
    response_model=LiveVote,
    responses=errors(400, 401, 403, 404, 422, 429, 500, 503),
)
async def live_vote(
    request: Request, id: Id, metric: Metric, voice: OfOne, named: Named = None
) -> LiveVote:
    """What this voter says of the answer now; 404 where that is nothing (yet)."""
    storage: Storage = request.app.state.storage
    voter = voice.votes_as(named, request.app.state.service)
    word = await storage.run(lambda store: store.live_feedback(id, voter, metric))
    return LiveVote(
        interaction=id,
        metric=metric,
        kind=word.kind,
        value=word.value,
        text=word.text,
        reasons=list(word.reasons),
        revision=word.revision,
        created_at=word.created_at,
    )


@router.delete(
    ONE,
    summary="Take your vote back",
    status_code=204,
    response_class=Response,
    responses=errors(400, 401, 403, 404, 409, 422, 429, 500, 503),
)
async def withdraw(
    request: Request,
    id: Id,
    metric: Metric,
    voice: OfOne,
    named: Named = None,
    _key: Key = None,
) -> Response:
    """The vote counts no more; a tombstone remains, so that older data sets stay what they were."""
    storage: Storage = request.app.state.storage
    voter = voice.votes_as(named, request.app.state.service)
    key = voice.own_key(request)
    await storage.run(lambda store: store.withdraw(id, voter, metric, idempotency_key=key))
    request.app.state.service.telemetry.voted("withdrawal")
    return Response(status_code=204)


@router.post(
    "/v1/feedback:batch",
    summary="Many votes at once",
    response_model=BatchStored,
    responses=errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503),
    openapi_extra=takes(
        Votes,
        two={
            "votes": [
                {"interaction": "a1", "metric": "thumb", "value": 1, "voter": "user-17"},
                {"interaction": "a2", "metric": "rating", "value": 4, "voter": "user-17"},
            ]
        },
    ),
)
async def batch(
    request: Request, caller: Annotated[Caller, Depends(needs("vote"))], _key: Key = None
) -> JSONResponse:
    """All are stored, or none; an error names the row."""
    body = await read_body(request, Votes)
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    voice = Voice(caller.id, alone=caller.open)
    words = [_of_row(service, voice, row, body) for row in range(len(body.votes))]
    key = voice.own_key(request)

    def work(store: Store) -> int:
        store.append(feedback=words, wait=True, idempotency_key=key)
        return sum(not storage.has(word.interaction) for word in words)

    waiting = await storage.run(work)
    for word in words:
        service.telemetry.voted(word.kind)
    return JSONResponse({"stored": len(words), "waiting": waiting})


def _of_row(service: Service, voice: Voice, row: int, body: Votes) -> Feedback:
    vote = body.votes[row]
    try:
        return feedback_of(
            vote,
            service.store.metrics,
            interaction=vote.interaction,
            metric=vote.metric,
            voter=voice.votes_as(vote.voter, service),
        )
    except Exception as error:
        why = problem_of(error)
        where = f"votes.{row}"
        raise Problem(why.status, f"{where}: {why}", code=why.code, param=where) from error
