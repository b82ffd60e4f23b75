"""Chat in OpenAI's protocol: completions, whole and streamed, and the list of models."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from rlhf.serving.access import Caller, needs
from rlhf.serving.answering import Answer, Answers
from rlhf.serving.bodies import read_body, takes
from rlhf.serving.openai_types import ChatCompletion, ChatRequest, Model, Models
from rlhf.serving.ordering import asker_of, ballot_of, order_of
from rlhf.serving.problems import problem_of
from rlhf.serving.responses import errors
from rlhf.serving.service import Service
from rlhf.serving.streaming import EventStream, event, while_connected

router = APIRouter(tags=["chat"])

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
    answer = answers.begin(order_of(service, body, asker_of(request, body.asker)))
    try:
        first = await while_connected(request, answer.next(), answer)
        if not body.stream:
            while first is not None:
                first = await while_connected(request, answer.next(), answer)
            return JSONResponse(_whole(service, answer))
    except BaseException:
        answer.stop()
        raise
    usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    return EventStream(_events(service, answer, first, usage), answer)


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
            Model(
                id=arm.policy.public_name,
                created=request.app.state.began,
                role="canary" if arm.role == "canary" else "champion",
            )
            for arm in service.traffic.models()
        ]
    )


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
        yield event(problem_of(error).body())  # its status has been sent already
        return
    last = [_delta({}, answer.outcome.finish)]
    yield _chunk(answer, last, **plain, **_extras(service, answer))
    if usage:
        yield _chunk(answer, [], usage=_usage(answer))
    yield b"data: [DONE]\n\n"


def _chunk(answer: Answer, choices: list[dict[str, Any]], **more: Any) -> bytes:
    return event(
        {
            "id": answer.order.id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": answer.order.arm.policy.public_name,
            "choices": choices,
            **more,
        }
    )


def _delta(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


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
        "model": answer.order.arm.policy.public_name,
        "choices": [choice],
        "usage": _usage(answer),
        **_extras(service, answer),
    }


def _usage(answer: Answer) -> dict[str, int]:
    asked, drawn = answer.outcome.prompt_tokens or 0, answer.outcome.completion_tokens
    return {"prompt_tokens": asked, "completion_tokens": drawn, "total_tokens": asked + drawn}


def _extras(service: Service, answer: Answer) -> dict[str, Any]:
    """What OpenAI's answers don't have: the style, and how to vote."""
    order = answer.order
    ballot = {**ballot_of(service, order), "solicited": order.solicited}
    return {"style": order.style, "feedback": ballot}
