"""Orders: all that is settled of an answer before it is drawn."""

from __future__ import annotations

import random
import secrets
from typing import Any

from starlette.requests import Request

from feedback_store import new_id
from feedback_store.fields import MAX_TEXT
from rlhf.sampling import Sampling
from rlhf.serving.auto_style import choose
from rlhf.serving.openai_types import ChatRequest
from rlhf.serving.problems import Problem
from rlhf.serving.recording import Order
from rlhf.serving.service import Service
from rlhf.serving.sessions import session_of
from rlhf.serving.traffic import Arm

ANYBODY = ("champion", "default")


def asker_of(request: Request, named: str | None) -> str | None:
    """Who asks: a browser's visitor is nobody else, a key's holder says it himself."""
    session = None if "authorization" in request.headers else session_of(request)
    return named if session is None else session.user


def order_of(
    service: Service,
    body: ChatRequest,
    asker: str | None,
    drawn: tuple[Arm, float | None] | None = None,
) -> Order:
    """The order of a request; raises `Problem`.

    `drawn` names the arm, and by which chance it got this request; by itself, `body.model` does.
    """
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
    arm, drawn_for = drawn or _arm(service, body.model, user)
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


def ballot_of(service: Service, order: Order) -> dict[str, Any]:
    """How to vote on an answer without an API key.

    Who gave no name votes under one of the conversation's, so that its votes are one voter's.
    """
    voter = order.user or service.store.pseudonym(f"guest of {order.conversation}")
    return {
        "token": service.tokens.make(order.id, voter),
        "expires_at": int(service.tokens.expires_at().timestamp()),
    }
