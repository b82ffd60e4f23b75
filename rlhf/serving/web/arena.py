"""The arena: one question, two answers side by side, and nothing that tells who gave which.

    POST /web/arena ─▶ two policies by lot ─▶ both begin ─▶ texts of both as they come ─▶ two tokens
    POST /v1/comparisons (both tokens, reason arena) ─▶ GET /web/arena/reveal

Which policy is left is drawn for every round; a and b of the comparison are left and right, so
`shown_first` is a. Both answers are recorded like any other's. The stream begins once both have
begun: who takes longer to begin would be known by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field

from feedback_store import Comparison, Interaction, NotFound, Store, new_id
from rlhf.serving.access import Caller, Denied, needs
from rlhf.serving.answering import Answer, Answers
from rlhf.serving.bodies import Body, read_body
from rlhf.serving.openai_types import STYLE, ChatMessage, ChatRequest, Name
from rlhf.serving.ordering import asker_of, ballot_of, order_of
from rlhf.serving.problems import Problem, problem_of
from rlhf.serving.recording import Order
from rlhf.serving.service import Service
from rlhf.serving.sessions import session_of
from rlhf.serving.storage import Storage
from rlhf.serving.streaming import EventStream, event, while_connected
from rlhf.serving.voters import tokens_of, voice_of
from rlhf.serving.web.pages import shell

router = APIRouter(include_in_schema=False)

Asker = Annotated[Caller, Depends(needs("chat"))]
Id = Annotated[str, Query(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
SIDES: Final = ("left", "right")
_WHOLE: Final = ("stop", "length", "content_filter")
"""Ends that leave something to compare."""


class Round(Body):
    """A dialogue up to the question that two answers are wanted to."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=1_000)
    style: str | None = Field(default=None, pattern=STYLE)
    conversation: Name | None = None


@router.get("/arena")
def page(request: Request) -> HTMLResponse:
    """Ask once, read two answers, choose."""
    service: Service = request.app.state.service
    return shell(request, "arena", public=service.config.arena.public_leaderboard)


@router.post("/web/arena")
async def play(request: Request, caller: Asker) -> Response:
    """Two answers as server-sent events; their tokens come last, when both are on disk."""
    body = await read_body(request, Round)
    answers: Answers = request.app.state.answers
    answers.check_room()
    service: Service = request.app.state.service
    both = [answers.begin(order) for order in _orders(service, body, asker_of(request, None))]
    try:
        texts = await while_connected(request, _begun(both), *both)
    except BaseException:
        for answer in both:
            answer.stop()
        raise
    return EventStream(_events(service, both, texts), *both)


async def _voter(request: Request) -> str:
    """Who asks: the bearer of both tokens, or the session's visitor."""
    if tokens_of(request):
        voice = await voice_of(request, [request.query_params.get(name, "") for name in "ab"])
        return voice.votes_as(None, request.app.state.service)
    await needs("chat")(request, None)
    session = session_of(request)
    if session is None:
        raise Denied(403, "send both answers' vote tokens as X-Vote-Token", "missing_vote_token")
    return session.user


@router.get("/web/arena/reveal")
async def reveal(
    request: Request, voter: Annotated[str, Depends(_voter)], a: Id, b: Id
) -> dict[str, Any]:
    """Who was who: for one who has chosen between the two, and has not taken that back."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage

    def read(store: Store) -> tuple[Comparison, Interaction, Interaction]:
        return store.live_comparison(a, b, voter), store.interaction(a), store.interaction(b)

    try:
        choice, one, other = await storage.run(read)
    except NotFound:
        message = "who answered is told after your choice between these two"
        raise Denied(403, message, "no_choice_yet") from None
    preferred = {"a": choice.a, "b": choice.b}.get(choice.choice)
    return {
        "choice": {a: "a", b: "b"}.get(preferred or "", choice.choice),
        "a": _identity(service, one.policy),
        "b": _identity(service, other.policy),
    }


def _orders(service: Service, body: Round, asker: str | None) -> list[Order]:
    """Left's and right's. Nothing in them but the arm and the seed differs."""
    left, right, probability = service.traffic.duel()
    wanted = ChatRequest(
        messages=body.messages,
        style=body.style,
        conversation=body.conversation or new_id(),
        stream=True,
    )
    drawn = [order_of(service, wanted, asker, (arm, probability)) for arm in (left, right)]
    # A thumb is not what is asked for here, so such a slice would not be one drawn by lot.
    return [replace(order, solicited=False) for order in drawn]


async def _begun(both: list[Answer]) -> list[str | None]:
    return await asyncio.gather(*(answer.next() for answer in both))


async def _events(
    service: Service, both: list[Answer], texts: list[str | None]
) -> AsyncIterator[bytes]:
    """What is shown of both as it comes. A round of which one side failed has no end to vote on."""
    try:
        async with aclosing(_merged(both, texts)) as pieces:
            async for number, text in pieces:
                side, answer = SIDES[number], both[number]
                if text is not None:
                    yield event({"side": side, "text": text})
                elif answer.outcome.finish in _WHOLE:
                    end = {"id": answer.order.id, "finish": answer.outcome.finish}
                    yield event({"side": side, **end})
                else:
                    message = "an answer broke off; ask once more"
                    raise Problem(503, message, code="answer_broke_off")
    except Exception as error:
        yield event(problem_of(error).body())  # its status has been sent already
        return
    ballots = [{"id": answer.order.id, **ballot_of(service, answer.order)} for answer in both]
    order = both[0].order
    about = {"conversation": order.conversation, "turn": order.turn, "style": order.style}
    yield event({"done": True, **dict(zip(SIDES, ballots, strict=True)), **about})


async def _merged(
    both: list[Answer], texts: list[str | None]
) -> AsyncGenerator[tuple[int, str | None], None]:
    """Number and text of whichever has one; None once it is recorded. Begins with `texts`."""
    waiting: dict[asyncio.Task[str | None], int] = {}
    try:
        for number, text in enumerate(texts):
            if text:
                yield number, text
            waiting[asyncio.create_task(both[number].next())] = number
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda one: waiting[one]):
                number = waiting.pop(task)
                text = task.result()
                if text != "":
                    yield number, text
                if text is not None:
                    waiting[asyncio.create_task(both[number].next())] = number
    finally:
        for task in waiting:
            task.cancel()


def _identity(service: Service, policy: str | None) -> dict[str, Any]:
    """A policy as it is told to people; the base model has no id."""
    roles = {arm.policy.id: arm.role for arm in service.traffic.models()}
    return {"policy": policy or "base", "role": roles.get(policy)}
