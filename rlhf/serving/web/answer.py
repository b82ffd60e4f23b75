"""The page that a vote's link opens: one answer, for the bearer of its vote token alone.

A link is `/answer#<interaction>:<token>`: what follows `#` is never sent, so no log has the token.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from feedback_store import Feedback, Interaction, Metrics, Store
from rlhf.serving.access import Denied
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage
from rlhf.serving.voters import TOKEN_HEADER, tokens_of, voice_of
from rlhf.serving.web.conversations import votes_on
from rlhf.serving.web.pages import shell

router = APIRouter(include_in_schema=False)

_BALLOT = ("thumb", "comment", "correction")


@router.get("/answer")
def page(request: Request) -> HTMLResponse:
    """The same for everybody: what it shows depends on the link's fragment."""
    return shell(request, "answer")


@router.get("/web/answer/{id}")
async def answer(
    request: Request, id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
) -> dict[str, Any]:
    """The dialogue and this voter's live votes; a key doesn't open it, another token neither."""
    if not tokens_of(request):
        raise Denied(401, f"send the answer's token as {TOKEN_HEADER}", "missing_vote_token")
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    voter = (await voice_of(request, [id])).votes_as(None, service)

    def read(store: Store) -> tuple[Interaction, list[Feedback]]:
        return store.interaction(id), store.words_of(voter, [id])

    row, words = await storage.run(read)
    # A system turn is the service's own instruction, and nobody said it to this person.
    said = [message.model_dump() for message in row.messages if message.role != "system"]
    return {
        "id": id,
        "messages": said,
        "response": row.response,
        "votes": votes_on(id, words),
        "metrics": _metrics(service.store.metrics),
    }


def _metrics(declared: Metrics) -> dict[str, str | None]:
    """Under which metric each part of the ballot is stored; None where the store has none."""
    names = {kind: [m.name for m in declared if m.kind == kind] for kind in _BALLOT}
    # A metric of the kind's own name is the usual one.
    return {
        kind: kind if kind in found else next(iter(found), None) for kind, found in names.items()
    }
