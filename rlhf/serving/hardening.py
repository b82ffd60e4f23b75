"""What stands between the network and the app, as ASGI middlewares, outermost first.

Watched          an id for the request, a log line and a figure at its end; no exception passes
SafeHeaders      headers that keep browsers from guessing, framing, caching and leaking
CORS             for the configured origins alone; without any, closed
OwnHost          an open service on loopback answers to loopback's names (DNS rebinding)
BodyLimit        413 for a body over the limit, whether its length is told or not
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback_store import StoreError
from rlhf.serving.access import Access
from rlhf.serving.logs import tell, told
from rlhf.serving.settings import ServeConfig
from rlhf.serving.telemetry import Telemetry

SAFE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Set where the app hasn't set its own: a page with scripts needs another policy."""

_PAGES: Final = ("/docs", "/redoc")
# FastAPI's pages: their scripts come from its usual place, they speak to this service alone.
_PAGES_POLICY: Final = (
    "default-src 'none'; script-src https://cdn.jsdelivr.net 'unsafe-inline'; "
    "style-src https://cdn.jsdelivr.net https://fonts.googleapis.com 'unsafe-inline'; "
    "font-src https://fonts.gstatic.com; img-src data: https://fastapi.tiangolo.com; "
    "worker-src blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_EXPOSED: Final = ("X-Request-Id", "Retry-After")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 64_000_000


def harden(app: ASGIApp, config: ServeConfig, access: Access, telemetry: Telemetry) -> ASGIApp:
    """The app behind all of them."""
    app = BodyLimit(app, config.limits.body_bytes)
    app = OwnHost(app, access)
    if config.origins:
        app = CORSMiddleware(
            app,
            allow_origins=config.origins,
            allow_methods=_METHODS,
            allow_headers=("*",),
            expose_headers=_EXPOSED,
        )
    return Watched(SafeHeaders(app), telemetry)


def problem(status: int, message: str, code: str) -> JSONResponse:
    """An error in OpenAI's shape."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, status)


@dataclass
class Watched:
    """Tells of every request once it has ended, by its route's pattern and never by its path."""

    app: ASGIApp
    telemetry: Telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        id, began, status = f"req_{uuid4().hex}", time.perf_counter(), 0
        scope.setdefault("state", {})["request_id"] = id

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = id
            await send(message)

        failure: dict[str, Any] = {}
        try:
            await self.app(scope, receive, named)
        except asyncio.CancelledError:
            failure = {"error": "cancelled"}  # the server stops; the task ends here
            if not status:
                await problem(503, "the server is stopping", "stopping")(scope, receive, named)
        except Exception as error:
            failure = told(error)
            if not status:
                await problem(500, "the server failed; its log says why", "internal_error")(
                    scope, receive, named
                )
        self._note(scope, id, status, time.perf_counter() - began, failure)

    def _note(
        self, scope: Scope, id: str, status: int, seconds: float, failure: dict[str, Any]
    ) -> None:
        route = str(getattr(scope.get("route"), "path", "none"))
        self.telemetry.request(route, scope["method"], status, seconds)
        tell(
            "request",
            request=id,
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            key=scope["state"].get("key_id"),
            **failure,
        )


@dataclass
class SafeHeaders:
    """Adds `SAFE_HEADERS` to every answer."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["path"] in _PAGES:
                    headers.setdefault("content-security-policy", _PAGES_POLICY)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, safe if scope["type"] == "http" else send)


@dataclass
class OwnHost:
    """While anybody may call, only under a name that no page on the web can take for itself."""

    app: ASGIApp
    access: Access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_loopback_name(scope) and await self._is_open():
            answer = problem(
                403,
                "without API keys this service answers to localhost alone; "
                "make one with `rlhf keys create`",
                "foreign_host",
            )
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _is_open(self) -> bool:
        if self.access.stale:
            with suppress(StoreError):  # then the app lets nobody in, and says why
                await asyncio.to_thread(self.access.refresh)
        return self.access.open


def _is_loopback_name(scope: Scope) -> bool:
    hosts = Headers(scope=scope).getlist("host")
    if not hosts:
        return scope.get("http_version") == "1.0"  # no browser
    name, colon, port = hosts[0].rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        name = hosts[0]
    return len(hosts) == 1 and name.lower() in _LOOPBACK


class _TooLarge(HTTPException):
    """Raised where the app reads on; its own handlers give it the app's error shape."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"a body of more than {limit} bytes")


@dataclass
class BodyLimit:
    """Answers 413 before a body is read, or as soon as more has come than it may have."""

    app: ASGIApp
    most: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, send, self.most)
        try:
            if _told_length(scope) > self.most:
                body.refused = True
                raise _TooLarge(self.most)
            await self.app(scope, body.receive, body.send)
        except _TooLarge as error:
            if not body.started:
                await problem(413, error.detail, "body_too_large")(scope, body.receive, body.send)


class _Body:
    """One request's body as it comes; once refused, the answer waits until the client has read it.

    Closing on a client that is still sending would throw the answer away with what it sends.
    """

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._most = receive, send, most
        self._size = 0
        self.refused = False
        self.started = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._size > self._most:
                self.refused = True
                raise _TooLarge(self._most)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if self.refused:
                MutableHeaders(scope=message)["connection"] = "close"
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self.refused and last:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _linger(self) -> None:
        seen = 0
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while seen < _LINGER_BYTES:
                    message = await self._receive()
                    seen += len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return


def _told_length(scope: Scope) -> int:
    lengths: Iterable[str] = Headers(scope=scope).getlist("content-length")
    return max((int(text) for text in lengths if text.isascii() and text.isdigit()), default=0)
