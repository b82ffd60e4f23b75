"""What is kept of an answer: everything that is needed to learn from a vote on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

from feedback_store import Interaction, printable
from feedback_store import Message as StoredMessage
from feedback_store.fields import MAX_TEXT
from rlhf.chat import Message
from rlhf.sampling import Sampling
from rlhf.serving.traffic import Arm

Finish = Literal["stop", "length", "content_filter", "cancelled", "error"]


@dataclass(frozen=True)
class Order:
    """One answer that is wanted, with all that was settled before it is drawn."""

    id: str
    arm: Arm
    drawn_for: float | None
    """The probability with which the arm was drawn; None where the client named it."""
    messages: tuple[Message, ...]
    style_asked: str | None
    style: str | None
    intent: str | None
    sampling: Sampling
    seed: int
    stop: tuple[str, ...]
    user: str | None
    """A pseudonym."""
    conversation: str
    turn: int
    consent: bool
    solicited: bool
    streams: bool


@dataclass
class Outcome:
    """What became of it so far."""

    text: str = ""
    """What the policy drew."""
    response: str = ""
    """What the user sees: the same, or what stood in its place."""
    token_ids: list[int] = field(default_factory=list)
    pieces: int = 0
    prompt_tokens: int | None = None
    finish: Finish = "error"
    blocked: tuple[str, ...] = ()
    first_token_ms: float | None = None
    latency_ms: float | None = None

    @property
    def completion_tokens(self) -> int:
        """Tokens drawn; an engine that tells none counts by its pieces."""
        return len(self.token_ids) or self.pieces


def interaction_of(
    project: str, order: Order, outcome: Outcome, template_hash: str | None
) -> Interaction:
    """The record of an answer."""
    policy = order.arm.policy
    # Of a blocked answer the ids would spell out what nobody is to see.
    told = outcome.token_ids and not outcome.blocked
    return Interaction(
        id=order.id,
        project=project,
        conversation=order.conversation,
        turn=order.turn,
        messages=tuple(StoredMessage(**message) for message in order.messages),
        response=printable(outcome.response)[:MAX_TEXT],
        response_token_ids=tuple(outcome.token_ids) if told else None,
        finish_reason=outcome.finish,
        blocked=",".join(outcome.blocked) or None,
        policy=policy.id,
        template_hash=policy.manifest.get("template_hash") or template_hash,
        style_asked=order.style_asked,
        style_used=order.style,
        intent=order.intent,
        sampling={
            **order.sampling.as_dict(),
            "seed": order.seed,
            "stop": json.dumps(order.stop, ensure_ascii=False) if order.stop else None,
        },
        assignment_probability=order.drawn_for,
        solicited=order.solicited,
        consent=order.consent,
        user=order.user,
        latency_ms=outcome.latency_ms,
        first_token_ms=outcome.first_token_ms,
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.completion_tokens,
    )
