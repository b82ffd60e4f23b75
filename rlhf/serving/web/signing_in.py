"""Signing in with an API key, and out again."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import StringConstraints

from rlhf.serving.access import Access, Denied, address_of
from rlhf.serving.bodies import Body, read_body
from rlhf.serving.service import Service
from rlhf.serving.sessions import CSRF_HEADER, session_of, set_cookie

router = APIRouter(prefix="/web", include_in_schema=False)


class SignIn(Body):
    """An API key, as `rlhf keys create` shows it once."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=200)]


@router.post("/session")
async def sign_in(request: Request) -> Response:
    """From now on this browser may what the key may, until that is revoked."""
    body = await read_body(request, SignIn)
    service: Service = request.app.state.service
    session = session_of(request)
    if session is None:
        raise Denied(403, "load the page first", "no_session")
    service.access.from_page(session, request.headers.get(CSRF_HEADER))
    holder = await asyncio.to_thread(service.access.holder, body.key.strip(), address_of(request))
    signed = service.access.sessions.make(session.guest, holder.id)
    answer = JSONResponse(
        {"csrf": service.access.sessions.csrf(signed), "scopes": sorted(holder.scopes)}
    )
    set_cookie(request, answer, signed)
    return answer


@router.delete("/session")
async def sign_out(request: Request) -> Response:
    """Forget the key; the browser's own conversations stay its own."""
    access: Access = request.app.state.service.access
    session = session_of(request)
    answer = Response(status_code=204)
    if session is not None:
        access.from_page(session, request.headers.get(CSRF_HEADER))
        set_cookie(request, answer, access.sessions.make(session.guest))
    return answer
