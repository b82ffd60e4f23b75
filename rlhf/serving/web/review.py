"""The queue of human spot checks: reserve an answer, say what it is worth, take the next.

A known answer (`gold`) comes as any other: what is told of it, and counted of it here, is a random
one's, so that nobody can tell it apart. Who the key belongs to is the reviewer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field, StringConstraints

from feedback_store import Feedback, Interaction, Store
from feedback_store.reading.standing import Standing
from feedback_store.review.queue import Reservation
from feedback_store.review.verdicts import can_correct
from feedback_store.store import utc_now
from rlhf.serving.access import Caller, needs
from rlhf.serving.bodies import Body, read_body
from rlhf.serving.service import Service
from rlhf.serving.sessions import session_of
from rlhf.serving.storage import Storage
from rlhf.serving.web.pages import shell

router = APIRouter(include_in_schema=False)

Reviewer = Annotated[Caller, Depends(needs("review"))]
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class Said(Body):
    """A verdict."""

    verdict: Literal["accept", "correct", "reject", "skip"]
    reasons: list[Reason] = Field(default_factory=list, max_length=8)
    text: Annotated[str, StringConstraints(max_length=100_000)] | None = None
    """The answer as it should have been."""


class OnVotes(Body):
    """What becomes of others' votes on an answer."""

    hold: bool
    """Out of every later data set, or back in."""
    reason: Reason


@router.get("/review")
def page(request: Request) -> HTMLResponse:
    """One answer after another, with what to look for beside it."""
    return shell(request, "review")


@router.post("/web/review/next")
async def take_next(request: Request, caller: Reviewer) -> dict[str, Any]:
    """Reserve an answer; the one that this reviewer has, if he has one. `item` may be null."""
    service, storage = _parts(request)
    who = _reviewer(request, caller)
    rules, project = service.config.review, service.config.project

    def work(store: Store) -> dict[str, Any] | None:
        got = store.next_for(who, project, rules)
        if got is None:
            return None
        answer = store.interaction(got.interaction)
        return _item(store, answer, got, store.standing(answer.id))

    return {"item": await storage.run(work)}


@router.post("/web/review/{id}")
async def verdict(request: Request, caller: Reviewer, id: Id) -> dict[str, Any]:
    """Write it with its votes; said again it is the same. 409 where the answer isn't his."""
    body = await read_body(request, Said)
    _, storage = _parts(request)
    who = _reviewer(request, caller)
    done = await storage.run(
        lambda store: store.review(who, id, body.verdict, reasons=body.reasons, text=body.text)
    )
    return {"verdict": done.verdict, "at": done.created_at.isoformat()}


@router.post("/web/review/{id}/renew")
async def renew(request: Request, caller: Reviewer, id: Id) -> dict[str, Any]:
    """Have it for longer."""
    service, storage = _parts(request)
    who, minutes = _reviewer(request, caller), service.config.review.minutes
    got = await storage.run(lambda store: store.renew(who, id, minutes))
    return {"seconds": _left(got)}


@router.delete("/web/review/{id}", status_code=204)
async def give_back(request: Request, caller: Reviewer, id: Id) -> Response:
    """Let others have it."""
    _, storage = _parts(request)
    who = _reviewer(request, caller)
    await storage.run(lambda store: store.give_back(who, id))
    return Response(status_code=204)


@router.post("/web/review/{id}/votes")
async def on_votes(request: Request, caller: Reviewer, id: Id) -> dict[str, Any]:
    """Hold back what others say of an answer that the reviewer has, or let it go."""
    body = await read_body(request, OnVotes)
    _, storage = _parts(request)
    who = _reviewer(request, caller)
    reason = f"{body.reason} ({caller.label})"

    def work(store: Store) -> list[Standing]:
        store.judge_votes(who, id, hold=body.hold, reason=reason)
        return store.standing(id)

    votes = await storage.run(work)
    return {"votes": [_vote(storage.store, vote) for vote in votes]}


@router.get("/web/review/progress")
async def progress(request: Request, caller: Reviewer) -> dict[str, Any]:
    """Where the queue stands, and how far reviewers agree; accuracy for those who run it."""
    service, storage = _parts(request)
    config = service.config
    who = service.store.pseudonym(_reviewer(request, caller))
    runs_it = "admin" in caller.scopes and not caller.open

    def work(store: Store) -> dict[str, Any]:
        told = store.review_progress(config.project, config.review)
        names = {store.pseudonym(key.id): key.label for key in store.api_keys()}
        accuracy = store.gold_accuracy(config.project) if runs_it else {}
        return {
            "sources": _without_gold(dict(told["sources"])),
            "reviewers": [
                {
                    "name": names.get(one["voter"]),
                    "you": one["voter"] == who,
                    "today": one["today"],
                    "total": one["total"],
                    "accuracy": accuracy.get(one["voter"]),
                }
                for one in told["reviewers"]
            ],
            "agreement": told["agreement"],
            "accepted": told["accepted"],
            "guidelines": service.guidelines,
        }

    return await storage.run(work)


def _parts(request: Request) -> tuple[Service, Storage]:
    return request.app.state.service, request.app.state.storage


def _reviewer(request: Request, caller: Caller) -> str:
    """Whose review it is: the key's, and where no keys exist, the browser's."""
    if not caller.open:
        return caller.id
    session = session_of(request)
    return "local" if session is None else session.user


def _left(got: Reservation) -> float:
    """Seconds: the browser's clock may be another."""
    return (got.expires_at - utc_now()).total_seconds()


def _item(
    store: Store, answer: Interaction, got: Reservation, votes: list[Standing]
) -> dict[str, Any]:
    return {
        "id": answer.id,
        "seconds": _left(got),
        "source": "random" if got.source == "gold" else got.source,
        "messages": [message.model_dump() for message in answer.messages],
        "response": answer.response,
        "style": answer.style_used,
        "finish": answer.finish_reason,
        "blocked": answer.blocked,
        "at": answer.created_at.isoformat() if answer.created_at else None,
        "votes": [_vote(store, vote) for vote in votes if vote.kind != "implicit"],
        "can_correct": can_correct(store.metrics),
    }


def _vote(store: Store, vote: Standing) -> dict[str, Any]:
    """A vote without its voter; `value` on its kind's own scale, more being better."""
    scaled = Feedback.model_construct(metric=vote.metric, kind=vote.kind, value=vote.value)
    return {
        "kind": vote.kind,
        "metric": vote.metric,
        "value": None if vote.value is None else store.metrics.to_scale(scaled),
        "text": vote.text,
        "reasons": vote.reasons,
        "at": vote.created_at.isoformat(),
        "held": vote.held,
    }


def _without_gold(sources: dict[str, Any]) -> dict[str, Any]:
    """A count that rose with a verdict would tell what it was on."""
    gold = sources.pop("gold")
    plain = sources["random"]
    for name in ("today", "total"):
        plain[name] += gold[name]
    return sources
