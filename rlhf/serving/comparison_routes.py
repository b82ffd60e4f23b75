"""Choices between two answers, with which of them was seen first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Security
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials

from feedback_store import Comparison, NotFound, Refused, Store
from rlhf.serving.bodies import read_body, takes
from rlhf.serving.feedback_routes import Key, Named
from rlhf.serving.problems import Problem
from rlhf.serving.responses import errors
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage
from rlhf.serving.vote_types import ChoiceStored, Preference, comparison_of
from rlhf.serving.voters import BEARER, TOKEN, Voice, may_vote, refuse_forged, tokens_of, voice_of

router = APIRouter(tags=["feedback"])

Answer = Annotated[str, Query(pattern=r"^[A-Za-z0-9._:-]{1,128}$", description="An answer's id.")]


async def _of_both(
    request: Request,
    _key: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
    _token: Annotated[str | None, Security(TOKEN)],
) -> Voice:
    """Who chooses; a stranger is denied before his body is read."""
    tokens = tokens_of(request)
    if not tokens:
        return await voice_of(request, [])
    service: Service = request.app.state.service
    refuse_forged(service, tokens)
    body = await read_body(request, Preference)
    return await voice_of(request, [body.a, body.b])


@router.post(
    "/v1/comparisons",
    summary="Choose between two answers",
    response_model=ChoiceStored,
    responses={
        202: {
            "model": ChoiceStored,
            "description": "On disk; it counts as soon as both answers are recorded.",
        },
        **errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503),
    },
    openapi_extra=takes(
        Preference,
        arena={
            "a": "a1",
            "b": "a2",
            "choice": "a",
            "shown_first": "b",
            "reason": "arena",
            "voter": "user-17",
        },
    ),
)
async def compare(
    request: Request, voice: Annotated[Voice, Depends(_of_both)], _key: Key = None
) -> JSONResponse:
    """A voter has one live choice between two answers, whichever way round they are named.

    Without an API key it takes both answers' tokens: `X-Vote-Token: <of a>,<of b>`. Then the first
    choice of reason `arena` is the last: it may be withdrawn, but who answered is known after it.
    """
    body = await read_body(request, Preference)
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    choice = comparison_of(body, service.config.project, voice.votes_as(body.voter, service))
    key = voice.own_key(request)

    def work(store: Store) -> bool:
        if voice.voter is not None:
            _keep_blind(store, choice)
        store.append(comparisons=[choice], wait=True, idempotency_key=key)
        return storage.has(body.a) and storage.has(body.b)

    live = await storage.run(work)
    service.telemetry.voted("comparison")
    return JSONResponse({"a": body.a, "b": body.b, "waiting": not live}, 200 if live else 202)


@router.delete(
    "/v1/comparisons",
    summary="Take your choice back",
    status_code=204,
    response_class=Response,
    responses=errors(400, 401, 403, 404, 409, 422, 429, 500, 503),
)
async def withdraw(
    request: Request,
    a: Answer,
    b: Answer,
    voice: Annotated[Voice, Depends(may_vote("a", "b"))],
    named: Named = None,
    _key: Key = None,
) -> Response:
    """The choice counts no more; the answers may be named in either order."""
    storage: Storage = request.app.state.storage
    voter = voice.votes_as(named, request.app.state.service)
    if a == b:
        raise Refused("an answer can't be compared with itself")
    key = voice.own_key(request)
    await storage.run(lambda store: store.withdraw_comparison(a, b, voter, idempotency_key=key))
    request.app.state.service.telemetry.voted("withdrawal")
    return Response(status_code=204)


def _keep_blind(store: Store, choice: Comparison) -> None:
    """Raise `Problem` 409 for another choice than the voter's first in the arena, or after it.

    Who answered may be known by then, so only the same once more (a request sent again) passes.
    """
    first = store.blind_choice(choice.a, choice.b, choice.voter)
    if first is None:
        return
    try:
        standing = store.live_comparison(choice.a, choice.b, choice.voter)
    except NotFound:
        standing = None
    if standing is None or _said(standing) != _said(choice):
        message = "choice: the first one was made blind and stands; withdraw it, or leave it"
        raise Problem(409, message, code="blind_choice_stands", param="choice")


def _said(choice: Comparison) -> tuple[str, str]:
    """The same for both orders of the answers."""
    preferred = {"a": choice.a, "b": choice.b}.get(choice.choice, "")
    return ("", choice.choice) if not preferred else (preferred, "better")
