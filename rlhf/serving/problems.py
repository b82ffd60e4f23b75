"""Every error of the service in OpenAI's shape, on one page.

400  the request isn't what the page says: the text names the field
401  no key or token, or one that isn't valid (any longer)
403  a key without the scope, or another answer's token
404  no such route, model, interaction or live vote
405  no such method
409  the id or the idempotency key is taken by another body
413  408  431  too large, too slow (see `hardening`)
415  the body isn't JSON
422  well-formed, and refused all the same: a value outside its metric's range
429  too many requests or answers under way; `Retry-After` says when to come back
503  the engine or the store is away; nothing was recorded as done
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from feedback_store import Conflict, NotFound, Refused, StoreError
from rlhf.errors import DataError
from rlhf.serving.access import Denied
from rlhf.serving.engines import EngineFailed

log = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_LONGEST = 300


class Problem(Exception):
    """An answer other than a 2xx."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """What the client reads."""
        kind = _TYPES.get(self.status) or (
            "server_error" if self.status >= 500 else "invalid_request_error"
        )
        message = " ".join(str(self).split())
        if len(message) > _LONGEST:
            message = message[:_LONGEST] + "…"
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The same as a response."""
        return JSONResponse(self.body(), self.status, headers=self.headers)


def problem_of(error: Exception) -> Problem:
    """What an exception means for the client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Denied):
        return Problem(error.status, error.message, code=error.code, headers=error.headers)
    if isinstance(error, ValidationError | RequestValidationError):
        return _of_validation(error)
    if isinstance(error, StoreError):
        return _of_store(error)
    if isinstance(error, DataError):
        return Problem(400, str(error), code="invalid_prompt", param="messages")
    if isinstance(error, EngineFailed):
        # Its own words may name hosts and files: they are for the log.
        message = "the engine can't answer just now; send the same again"
        return Problem(503, message, code="engine_unavailable", headers={"Retry-After": "2"})
    return Problem(500, "the server failed; its log says why", code="internal_error")


def _of_store(error: StoreError) -> Problem:
    if isinstance(error, NotFound):
        return Problem(404, str(error), code="not_found")
    if isinstance(error, Conflict):
        return Problem(409, str(error), code="conflict")
    if isinstance(error, Refused):
        return Problem(422, str(error), code="refused")
    # The store's own text names files.
    message = "the store can't be written just now; send the same again"
    return Problem(503, message, code="store_unavailable", headers={"Retry-After": "2"})


def _of_validation(error: ValidationError | RequestValidationError) -> Problem:
    """One line that names the field and never quotes what was sent."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False, include_context=False)
    else:
        found = list(error.errors())
    # Of a union's branches the one that got furthest is what was meant.
    worst = max(found, key=lambda e: len(e["loc"]))
    named = [str(part)[:40] for part in worst["loc"] if _is_name(part)]
    field = ".".join(named) or "body"
    message = str(worst["msg"]).removeprefix("Value error, ")
    return Problem(400, f"{field}: {message}", code=str(worst["type"]), param=field)


def _is_name(part: int | str) -> bool:
    """Pydantic puts the branch of a union among the names: `str`, `list[TextPart]`."""
    return isinstance(part, int) or not (part in ("str", "body") or "[" in part)


async def _answer(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status >= 500:
        log.error("%s %s: %s", problem.status, type(error).__name__, _route(request))
    return problem.response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    problem = Problem(error.status_code, str(error.detail), code=code, headers=error.headers)
    return problem.response()


def _route(request: Request) -> str:
    """The route's pattern: its path may hold ids."""
    return str(getattr(request.scope.get("route"), "path", "no route"))


def add_handlers(app: FastAPI) -> None:
    """Give all errors of an app this shape."""
    for kind in (Problem, Denied, ValidationError, RequestValidationError, StoreError, DataError):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(EngineFailed, _answer)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _answer)
