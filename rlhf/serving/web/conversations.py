"""A visitor's own conversations: the list at the side of the chat, and one of them whole."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request

from feedback_store import Comparison, Feedback, Interaction, Store
from rlhf.serving.access import Caller, needs
from rlhf.serving.problems import Problem
from rlhf.serving.service import Service
from rlhf.serving.sessions import session_of
from rlhf.serving.storage import Storage

router = APIRouter(prefix="/web", include_in_schema=False)

Asker = Annotated[Caller, Depends(needs("chat"))]
_PAGE = 30


@router.get("/conversations")
async def listed(
    request: Request, caller: Asker, before: Annotated[int | None, Query(ge=0)] = None
) -> dict[str, Any]:
    """A page of them, the last one spoken in first."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    user, project = _user(request), service.config.project
    found = await storage.run(
        lambda store: store.conversations(user, project, before=before, most=_PAGE)
    )
    rows = [{"id": one.conversation, "title": one.title, "at": one.at.isoformat()} for one in found]
    return {"conversations": rows, "next": found[-1].seq if len(found) == _PAGE else None}


@router.get("/conversations/{id}")
async def one(
    request: Request, caller: Asker, id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
) -> dict[str, Any]:
    """Every answer of it with this visitor's votes, and a fresh token to vote with."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    user, project = _user(request), service.config.project

    def read(store: Store) -> tuple[list[Interaction], list[Feedback], list[Comparison]]:
        answers = store.conversation(user, project, id)
        ids = [answer.id for answer in answers]
        return answers, store.words_of(user, ids), store.choices_of(user, ids)

    answers, words, choices = await storage.run(read)
    if not answers:
        raise Problem(404, "no conversation of yours has this id", code="not_found")
    told = [_answer(service, user, answer, words, "review" in caller.scopes) for answer in answers]
    return {"id": id, "answers": told, "choices": [_choice(choice) for choice in choices]}


def _user(request: Request) -> str:
    session = session_of(request)
    if session is None:
        raise Problem(403, "load the page first", code="no_session")
    return session.user


def _answer(
    service: Service, user: str, answer: Interaction, words: list[Feedback], policy: bool
) -> dict[str, Any]:
    return {
        "id": answer.id,
        "turn": answer.turn,
        "messages": [message.model_dump() for message in answer.messages],
        "response": answer.response,
        "finish": answer.finish_reason,
        "style": answer.style_used,
        "policy": answer.policy if policy else None,
        "token": service.tokens.make(answer.id, user),
        "votes": votes_on(answer.id, words),
    }


def votes_on(answer: str, words: list[Feedback]) -> list[dict[str, Any]]:
    """A voter's own words on an answer, as the ballot takes them: no signals."""
    shown = ("kind", "value", "text", "reasons")
    spoken = (word for word in words if word.interaction == answer and word.kind != "implicit")
    return [word.model_dump(mode="json", include=set(shown)) for word in spoken]


def _choice(choice: Comparison) -> dict[str, Any]:
    return {"a": choice.a, "b": choice.b, "choice": choice.choice, "reason": choice.reason}
