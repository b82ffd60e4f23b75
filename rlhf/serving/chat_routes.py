"""Chat in OpenAI's protocol: completions, whole and streamed, and the list of models."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from feedback_store import new_id
from feedback_store.fields import MAX_TEXT
from rlhf.sampling import Sampling
from rlhf.serving.access import Caller, needs
from rlhf.serving.answering import Answer, Answers
from rlhf.serving.auto_style import choose
from rlhf.serving.bodies import read_body, takes
from rlhf.serving.openai_types import ChatCompletion, ChatRequest, Model, Models
from rlhf.serving.problems import Problem, problem_of
from rlhf.serving.recording import Order
from rlhf.serving.responses import errors
from rlhf.serving.service import Service
from rlhf.serving.sessions import session_of
from rlhf.serving.traffic import Arm

router = APIRouter(tags=["chat"])

ANYBODY = ("champion", "default")
Asker = Annotated[Caller, Depends(needs("chat"))]
_QUESTION = {"role": "user", "content": "My parcel is late again. What now?"}


@router.post(
    "/v1/chat/completions",
    summary="Answer a dialogue",
    response_model=ChatCompletion,
    responses={
        200: {
            "description": "The answer; with `stream`, chunks as server-sent events.",
            "content": {"text/event-stream": {}},
        },
        **errors(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503),
    },
    openapi_extra=takes(
        ChatRequest,
        plain={"model": "champion", "messages": [_QUESTION]},
        styled={"model": "champion", "messages": [_QUESTION], "style": "formal+caring"},
        streamed={"model": "champion", "messages": [_QUESTION], "stream": True, "max_tokens": 64},
    ),
)
async def complete(request: Request, caller: Asker) -> Response:
    """OpenAI's chat completion. The id is the interaction's, which votes name.

    When the answer, or a stream's last chunk, has arrived, it is on disk.
    """
    body = await read_body(request, ChatRequest)
    service: Service = request.app.state.service
    answers: Answers = request.app.state.answers
    answers.check_room()
    answer = answers.begin(order_of(service, body, _asker(request, body)))
    try:
        first = await _while_connected(request, answer)
        if not body.stream:
            while first is not None:
                first = await _while_connected(request, answer)
            return JSONResponse(_whole(service, answer))
    except BaseException:
        answer.stop()
        raise
    usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    return _EventStream(answer, _events(service, answer, first, usage))


@router.get(
    "/v1/models",
    summary="Which policies answer",
    response_model=Models,
    responses=errors(401, 403, 429, 500, 503),
)
async def models(request: Request, caller: Asker) -> Models:
    """The champion and, where there is one, the canary, under the names that `model` takes."""
    service: Service = request.app.state.service
    return Models(
        data=[
            Model(id=arm.policy.label, created=request.app.state.began, role=arm.role)
            for arm in service.traffic.models()
        ]
    )


def _asker(request: Request, body: ChatRequest) -> str | None:
    """Who asks: a browser's visitor is nobody else, a key's holder says it himself."""
    session = None if "authorization" in request.headers else session_of(request)
    return body.asker if session is None else session.user


def order_of(service: Service, body: ChatRequest, asker: str | None) -> Order:
    """All that is settled before the answer is drawn; raises `Problem`."""
    config = service.config
    messages = tuple(message.turn() for message in body.messages)
    size = sum(len(message["content"]) for message in messages)
    if size > (most := min(config.limits.prompt_chars, MAX_TEXT)):
        message = f"messages: {size} characters, at most {most} are answered"
        raise Problem(400, message, code="context_length_exceeded", param="messages")
    asked = body.style or config.style
    mood = choose(messages)
    id = new_id()
    user = service.store.pseudonym(asker) if asker else None
    arm, drawn_for = _arm(service, body.model, user)
    return Order(
        id=id,
        arm=arm,
        drawn_for=drawn_for,
        messages=messages,
        style_asked=None if asked == "none" else asked,
        style=mood.style if asked == "auto" else None if asked == "none" else asked,
        intent=mood.intent or None,
        sampling=_sampling(service, body),
        seed=secrets.randbits(31) if body.seed is None else body.seed % 2**31,
        stop=body.stops,
        user=user,
        conversation=body.conversation or id,
        turn=_turn(body),
        consent=body.consent is not False,
        solicited=random.random() < config.solicited,
        streams=bool(body.stream),
    )


def _arm(service: Service, model: str, user: str | None) -> tuple[Arm, float | None]:
    """Who answers, and by which chance; none where the client named the policy."""
    if model in ANYBODY:
        arm = service.traffic.assign(user)
        return arm, arm.probability
    named = service.traffic.policy(model)
    if named is None:
        message = "no such model is served; ask for `champion`, or see /v1/models"
        raise Problem(404, message, code="model_not_found", param="model")
    return named, None


def _sampling(service: Service, body: ChatRequest) -> Sampling:
    own, limits = service.config.sampling, service.config.limits
    return Sampling(
        max_new_tokens=min(body.most_tokens or own.max_new_tokens, limits.max_new_tokens),
        temperature=own.temperature if body.temperature is None else body.temperature,
        top_p=own.top_p if body.top_p is None else body.top_p,
        batch_size=own.batch_size,
    )


def _turn(body: ChatRequest) -> int:
    if body.turn is not None:
        return body.turn
    return max(0, sum(message.role == "user" for message in body.messages) - 1)


async def _while_connected(request: Request, answer: Answer) -> str | None:
    """The answer's next text; stops the answer when the client goes away meanwhile."""
    text = asyncio.create_task(answer.next())
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({text, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not text.done():
            answer.stop()
        return await text
    finally:
        gone.cancel()
        text.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _EventStream(StreamingResponse):
    """Server-sent events; an answer whose client went away is stopped."""

    def __init__(self, answer: Answer, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.stop()


async def _events(
    service: Service, answer: Answer, text: str | None, usage: bool
) -> AsyncIterator[bytes]:
    """OpenAI's chunks. The last one with a choice, and `[DONE]`, come after the commit."""
    plain: dict[str, Any] = {"usage": None} if usage else {}
    yield _chunk(answer, [_delta({"role": "assistant", "content": ""})], **plain)
    try:
        while text is not None:
            if text:
                yield _chunk(answer, [_delta({"content": text})], **plain)
            text = await answer.next()
    except Exception as error:
        yield _event(problem_of(error).body())  # its status has been sent already
        return
    last = [_delta({}, answer.outcome.finish)]
    yield _chunk(answer, last, **plain, **_extras(service, answer))
    if usage:
        yield _chunk(answer, [], usage=_usage(answer))
    yield b"data: [DONE]\n\n"


def _chunk(answer: Answer, choices: list[dict[str, Any]], **more: Any) -> bytes:
    return _event(
        {
            "id": answer.order.id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": answer.order.arm.policy.label,
            "choices": choices,
            **more,
        }
    )


def _delta(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def _whole(service: Service, answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.outcome.response, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": answer.outcome.finish,
    }
    return {
        "id": answer.order.id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.order.arm.policy.label,
        "choices": [choice],
        "usage": _usage(answer),
        **_extras(service, answer),
    }


def _usage(answer: Answer) -> dict[str, int]:
    asked, drawn = answer.outcome.prompt_tokens or 0, answer.outcome.completion_tokens
    return {"prompt_tokens": asked, "completion_tokens": drawn, "total_tokens": asked + drawn}


def _extras(service: Service, answer: Answer) -> dict[str, Any]:
    """What OpenAI's answers don't have: the style, and how to vote.

    Who gave no name votes under one of the conversation's, so that its votes are one voter's.
    """
    order = answer.order
    voter = order.user or service.store.pseudonym(f"guest of {order.conversation}")
    token = service.tokens.make(order.id, voter)
    ballot = {
        "token": token,
        "expires_at": int(service.tokens.expires_at().timestamp()),
        "solicited": order.solicited,
    }
    return {"style": order.style, "feedback": ballot}
