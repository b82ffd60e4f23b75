"""HTTP/1.1 for clients that can't be trusted to finish what they begin.

uvicorn waits forever for headers, for a body and for a client that doesn't read. Here each has its
time: `header_seconds` from the connection (or the first byte of its next request) to the end of
the headers, `body_seconds` from there to the end of the body (408), and as long for a client that
leaves its answer unread. When all connections are taken, the one that has longest been silent or
busy with its headers makes room for the next.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rlhf.serving.settings import LimitSettings

MAX_HEAD: Final = 65_536
"""Bytes of a request line with its headers."""

Told = Callable[[str], None]


def _canned(status: str, kind: str, message: str, code: str) -> bytes:
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n" + body


_LATE_BODY = _canned(
    "408 Request Timeout", "invalid_request_error", "the body came too slowly", "body_timeout"
)
_LONG_HEAD = _canned(
    "431 Request Header Fields Too Large",
    "invalid_request_error",
    f"more than {MAX_HEAD} bytes of headers",
    "headers_too_large",
)
_FULL = _canned(
    "503 Service Unavailable", "server_error", "too many connections; try again", "overloaded"
)


class _Timer(Protocol):
    def cancel(self) -> None: ...


class GuardedProtocol(HttpToolsProtocol):
    """One connection; `guarded` makes the class for a server's limits."""

    limits: ClassVar[LimitSettings]
    on_close: ClassVar[Told]
    """Told why, when a limit ends a connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: _Timer | None = None
        self._write_timer: _Timer | None = None
        self._in_head = True
        self._head_bytes = 0
        self._ended = False
        self._quiet_since = 0.0

    # The connection's life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the clock at once: a client that says nothing is as slow as one that drips."""
        full = len(self.connections) >= self.limits.connections
        super().connection_made(transport)  # type: ignore[arg-type]
        self._quiet_since = self.loop.time()
        if full and not self._make_room():
            self.transport.write(_FULL)
            self._end("full")
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop()
        self._stop_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; headers that grow without end are refused."""
        if self.transport.is_closing():
            return
        if self._timer is None:  # the first bytes of another request
            self._await_headers()
        self._ended = False
        super().data_received(data)
        if self._in_head and not self._ended:  # a request that ended here was body, for the most
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD and not self.transport.is_closing():
                self.transport.write(_LONG_HEAD)
                self._end("long_headers")

    # What the parser finds

    def on_message_begin(self) -> None:
        """Another request; one that follows in the same bytes has its own time."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._timer is None:
            self._await_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes after the body (trailers) must not change the request."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on the body is awaited."""
        self._in_head = False
        self._arm(self.limits.body_seconds, self._body_is_late)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here; its answer may take its time."""
        self._stop()
        self._in_head, self._head_bytes, self._ended = True, 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The connection is quiet from here on."""
        self._quiet_since = self.loop.time()
        super().on_response_complete()

    # Clients that don't read

    def pause_writing(self) -> None:
        """The answer piles up: the client has so long to go on reading."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.body_seconds, self._unread)

    def resume_writing(self) -> None:
        """The client reads."""
        self._stop_writing()
        super().resume_writing()

    # Clocks

    @property
    def answering(self) -> bool:
        """Whether an answer is under way on this connection."""
        return self.cycle is not None and not self.cycle.response_complete

    def _await_headers(self) -> None:
        self._arm(self.limits.header_seconds, self._headers_are_late)

    def _arm(self, seconds: float, late: Callable[[], None]) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _headers_are_late(self) -> None:
        if self.answering:  # a next request sent ahead: it must not break this one's answer off
            self._await_headers()
        else:
            self._end("headers_late")

    def _body_is_late(self) -> None:
        if self.flow.read_paused or self.pipeline:  # it is we who are slow
            self._arm(self.limits.body_seconds, self._body_is_late)
            return
        if self.answering and not self.cycle.response_started:
            self.transport.write(_LATE_BODY)
        self._end("body_late")

    def _unread(self) -> None:
        type(self).on_close("unread")
        self.transport.abort()

    def _end(self, reason: str) -> None:
        type(self).on_close(reason)
        self._stop()
        if self.cycle is not None:  # the app is told that its client has gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _make_room(self) -> bool:
        """Close the connection that has kept quiet, or not finished its headers, for longest."""
        idle = [
            c
            for c in self.connections
            if isinstance(c, GuardedProtocol) and c is not self and c.can_go
        ]
        if not idle:
            return False
        min(idle, key=lambda c: c._quiet_since)._end("made_room")
        return True

    @property
    def can_go(self) -> bool:
        """Whether nothing is lost by closing: no answer is under way, no body on its way."""
        return self._in_head and not self.answering and not self.transport.is_closing()


def guarded(limits: LimitSettings, on_close: Told) -> type[GuardedProtocol]:
    """The protocol class under these limits, for uvicorn's `http=`."""

    class Guarded(GuardedProtocol):
        pass

    Guarded.limits = limits
    Guarded.on_close = staticmethod(on_close)
    return Guarded
