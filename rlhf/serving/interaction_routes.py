"""Answers that another server gave, recorded so that its users' votes can be learned from.

A key of scope `vote` records them: who may say what users think of an answer may say which answer
that was; corrections teach no less.
"""

from __future__ import annotations

import hashlib
import random
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from feedback_store import Interaction, Refused, printable
from feedback_store import Message as StoredMessage
from feedback_store.schema import MAX_TOKENS
from rlhf.serving.access import Caller, needs
from rlhf.serving.bodies import Body, read_body, takes
from rlhf.serving.feedback_routes import Key
from rlhf.serving.openai_types import Ballot, ChatMessage, Person
from rlhf.serving.responses import errors
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage
from rlhf.serving.vote_types import MAX_BATCH, InteractionId
from rlhf.serving.voters import Voice

router = APIRouter(tags=["interactions"])

Label = Annotated[str, StringConstraints(pattern=r"^[\w.:+/ -]{1,64}$")]
Text = Annotated[str, StringConstraints(max_length=200_000)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Milliseconds = Annotated[float, Field(ge=0, le=1e15)]
Setting = (
    Annotated[str, StringConstraints(max_length=1_000)]
    | bool
    | Annotated[int, Field(gt=-(2**53), lt=2**53)]
    | float
    | None
)


class ServedElsewhere(Body):
    """An answer, and what is known of how it came to be."""

    id: InteractionId | None = None
    """By itself, a fresh one; the same id with the same body again is no mistake."""
    messages: list[ChatMessage] = Field(min_length=1, max_length=1_000)
    response: Text
    conversation: InteractionId | None = None
    turn: Count | None = None
    policy: InteractionId | None = None
    """The id of the policy that answered, where it is one of this store's."""
    finish_reason: Literal["stop", "length", "content_filter", "cancelled", "error"] | None = None
    template_hash: InteractionId | None = None
    style_asked: Label | None = None
    style_used: Label | None = None
    intent: Label | None = None
    sampling: dict[Label, Setting] | None = Field(default=None, max_length=64)
    assignment_probability: Annotated[float, Field(gt=0, le=1)] | None = None
    response_token_ids: Annotated[list[Count], Field(max_length=MAX_TOKENS)] | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    latency_ms: Milliseconds | None = None
    first_token_ms: Milliseconds | None = None
    simulated: bool = False
    """Whether no person asked."""
    consent: bool = True
    user: Person | None = None


class ServedElsewhereBatch(Body):
    """Many of them: all are recorded, or none."""

    interactions: list[ServedElsewhere] = Field(min_length=1, max_length=MAX_BATCH)


class _OneOrMany(ServedElsewhereBatch):
    """Either, as it was sent."""

    one: bool = False

    @model_validator(mode="before")
    @classmethod
    def _as_many(cls, data: Any) -> Any:
        if isinstance(data, dict) and "interactions" not in data:
            return {"interactions": [data], "one": True}
        if isinstance(data, dict) and "one" in data:
            raise ValueError("one: no such field")
        return data


class Recorded(BaseModel):
    """On disk under this id; votes may come with the token."""

    id: str
    feedback: Ballot


class RecordedBatch(BaseModel):
    """All on disk, in the order in which they came."""

    interactions: list[Recorded]


_EXAMPLE = {
    "messages": [{"role": "user", "content": "When does my parcel come?"}],
    "response": "On Friday.",
    "finish_reason": "stop",
    "user": "user-17",
}


@router.post(
    "/v1/interactions",
    summary="Record answers that were served elsewhere",
    status_code=201,
    response_model=Recorded | RecordedBatch,
    responses=errors(400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503),
    openapi_extra=takes(
        ServedElsewhere,
        ServedElsewhereBatch,
        one=_EXAMPLE,
        many={"interactions": [_EXAMPLE, {**_EXAMPLE, "response": "On Saturday."}]},
    ),
)
async def record(
    request: Request, caller: Annotated[Caller, Depends(needs("vote"))], _key: Key = None
) -> Recorded | RecordedBatch:
    """One object, or many under `interactions`; ids and vote tokens come back in that order."""
    body = await read_body(request, _OneOrMany)
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    key = Voice(caller.id).own_key(request)
    rows = [_interaction(service, row, key, n) for n, row in enumerate(body.interactions)]
    await storage.run(lambda store: store.append(interactions=rows, wait=True, idempotency_key=key))
    for row in rows:
        storage.remember(row.id)
    told = [_recorded(service, row) for row in rows]
    return told[0] if body.one else RecordedBatch(interactions=told)


def _interaction(
    service: Service, row: ServedElsewhere, key: str | None, number: int
) -> Interaction:
    """The row as the store takes it; raises `Refused`."""
    said: dict[str, Any] = row.model_dump(exclude={"messages", "user"}, exclude_none=True)
    if "id" not in said and key is not None:  # so that a repeated request names the same rows
        said["id"] = hashlib.sha256(f"{key}\0{number}".encode()).hexdigest()[:32]
    if row.user:
        said["user"] = service.store.pseudonym(row.user)
    said["response"] = printable(row.response)
    said["project"] = service.config.project
    try:
        messages = tuple(StoredMessage(**message.turn()) for message in row.messages)
        stored = Interaction(**said, messages=messages)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise Refused(f"interactions.{number}.{field}: {first['msg']}") from error
    # Drawn from the id, so that a repeated request says the same.
    drawn = random.Random(service.store.pseudonym(stored.id)).random() < service.config.solicited
    return stored.model_copy(update={"solicited": drawn})


def _recorded(service: Service, row: Interaction) -> Recorded:
    voter = row.user or service.store.pseudonym(f"guest of {row.conversation}")
    ballot = Ballot(
        token=service.tokens.make(row.id, voter),
        expires_at=int(service.tokens.expires_at().timestamp()),
        solicited=row.solicited,
    )
    return Recorded(id=row.id, feedback=ballot)
