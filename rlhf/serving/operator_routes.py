"""For those who run the service: is it up, may it have traffic, and its figures."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from feedback_store import StoreError
from rlhf.serving.access import Caller, needs
from rlhf.serving.responses import errors
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage
from rlhf.serving.telemetry import CONTENT_TYPE

router = APIRouter(tags=["operators"])

_FRESH_S = 1.0


class Health(BaseModel):
    """The process is up."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the service may have traffic, and what keeps it from it."""

    ready: bool
    reasons: list[str]


@router.get("/healthz", summary="Is the process up", response_model=Health)
async def health() -> Health:
    """Always yes, where it answers at all."""
    return Health()


@router.get(
    "/readyz",
    summary="May it have traffic",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not now; `reasons` say why."}},
)
async def readiness(request: Request) -> JSONResponse:
    """The engine answers and the store can be written; looked at once a second at most."""
    state = request.app.state
    looked_at, reasons = state.readiness
    if time.monotonic() - looked_at > _FRESH_S:
        reasons = await _reasons(state.service, state.storage)
        state.readiness = (time.monotonic(), reasons)
    status = 503 if reasons else 200
    headers = {"Retry-After": "2"} if reasons else None
    return JSONResponse({"ready": not reasons, "reasons": reasons}, status, headers)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **errors(401, 403, 429, 500, 503),
    },
)
async def metrics(
    request: Request, caller: Annotated[Caller, Depends(needs("review"))]
) -> Response:
    """In Prometheus's text format; takes a key of scope `review`."""
    service: Service = request.app.state.service
    service.telemetry.engine_up.set(service.engine.alive)
    return Response(service.telemetry.render(), media_type=CONTENT_TYPE)


async def _reasons(service: Service, storage: Storage) -> list[str]:
    """Words of our own: the errors' name files and hosts, and anybody may ask."""
    reasons = [] if service.engine.alive else ["the engine doesn't answer"]
    try:
        await storage.run(lambda store: store.check_writable())
    except StoreError:
        reasons.append("the store can't be written")
    return reasons
