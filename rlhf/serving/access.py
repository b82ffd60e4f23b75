"""Who is calling, what they may do, and how often.

Keys come as `Authorization: Bearer rk_…`, or by the session of a browser that signed in with one.
While the store has any key, one is asked for; without keys a server on loopback is open to whoever
reaches it, and one elsewhere to nobody. With `guests`, whoever has a page of ours before him may
chat without a key.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, get_args

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from feedback_store import ApiKey, Store
from feedback_store.api_keys import hash_of
from feedback_store.store import utc_now
from rlhf.serving.rates import Buckets
from rlhf.serving.sessions import CSRF_HEADER, SAFE_METHODS, Session, Sessions, session_of
from rlhf.serving.settings import LimitSettings

Scope = Literal["chat", "vote", "review", "admin"]
_ALL: Final[frozenset[Scope]] = frozenset(get_args(Scope))
_VOTES: Final = 10
"""So many times as many votes as other requests; see `LimitSettings.requests_per_minute`."""


class Denied(Exception):
    """A request that isn't answered: its status, one line, a code, and headers for the client."""

    def __init__(
        self, status: int, message: str, code: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers: dict[str, str] = {}
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"
        if retry_after is not None:
            self.headers["Retry-After"] = str(math.ceil(retry_after))


@dataclass(frozen=True)
class Caller:
    """Whoever passed: by a key, or by nothing but an address."""

    id: str
    """The key's id, or the client's address."""
    label: str
    scopes: frozenset[Scope]
    open: bool
    """No keys exist and the server is on loopback."""


class Access:
    """One service's door. `check` is safe from any thread."""

    def __init__(
        self,
        store: Store,
        limits: LimitSettings,
        *,
        open_without_keys: bool,
        guests: bool = False,
        clock: Callable[[], datetime] = utc_now,
        poll_seconds: float = 2.0,
    ) -> None:
        self.sessions = Sessions(store, clock)
        self._guests = guests
        self._store = store
        self._open_without_keys = open_without_keys
        self._clock = clock
        self._poll = timedelta(seconds=poll_seconds)
        self._buckets = Buckets(limits.requests_per_minute)
        self._votes = Buckets(limits.requests_per_minute * _VOTES)
        self._keys: dict[str, ApiKey] = {}
        self._read_at: datetime | None = None
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether everybody who reaches the server may do everything."""
        return self._open_without_keys and not self._keys

    @property
    def stale(self) -> bool:
        """Whether the next check will read the keys again."""
        now = self._clock()
        return self._read_at is None or not self._read_at <= now < self._read_at + self._poll

    def refresh(self) -> None:
        """Read the keys if it is time; raises the store's errors, and then nobody passes."""
        with self._lock:
            if self.stale:
                self._keys = {key.hash: key for key in self._store.api_keys()}
                self._read_at = self._clock()

    def check(
        self,
        authorization: str | None,
        scope: Scope,
        address: str,
        session: Session | None = None,
    ) -> Caller:
        """Who this is, if they may do this now; raises `Denied`, or the store's errors.

        A session counts where there is no `authorization`; that the request is a page's own is
        the caller's to see to (`from_page`).
        """
        self.refresh()
        caller = self._caller(authorization, address, session)
        if scope not in caller.scopes:
            raise Denied(403, f"this key has no scope {scope}", "insufficient_scope")
        self.pace(caller.id, scope)
        return caller

    def pace(self, id: str, scope: Scope) -> None:
        """Count a request of one key, voter or address; raises `Denied` (429) for too many."""
        buckets = self._votes if scope == "vote" else self._buckets
        if wait := buckets.take(id, self._clock().timestamp()):
            raise Denied(429, "too many requests; slow down", "rate_limit_exceeded", wait)

    def scopes(self, session: Session | None, address: str) -> frozenset[Scope]:
        """What a browser may do: for its pages, which show no more than that."""
        try:
            self.refresh()
            return self._caller(None, address, session).scopes
        except Denied:
            return frozenset()

    def holder(self, secret: str, address: str) -> Caller:
        """Whose key this is; raises `Denied`, for too many tries too."""
        self.refresh()
        self.pace(address, "chat")
        if secret and hash_of(secret) in self._keys:
            return self._holder(self._keys[hash_of(secret)])
        return self._holder(None)

    def from_page(self, session: Session, token: str | None) -> None:
        """Raise `Denied` for a request that no page of ours made."""
        if not self.sessions.is_own(session, token):
            message = "this page is out of date; load it anew"
            raise Denied(403, message, "invalid_csrf_token")

    def _caller(self, authorization: str | None, address: str, session: Session | None) -> Caller:
        if self.open:
            return Caller(address, "open", _ALL, open=True)
        if authorization is not None:
            scheme, _, secret = authorization.strip().partition(" ")
            key = self._keys.get(hash_of(secret.strip()))
            return self._holder(key if scheme.lower() == "bearer" else None)
        if session is not None and session.key is not None:
            by_id = (key for key in self._keys.values() if key.id == session.key)
            return self._holder(next(by_id, None))
        if session is not None and self._guests:
            return Caller(address, "guest", frozenset({"chat"}), open=False)
        raise Denied(401, "send an API key as `Authorization: Bearer rk_…`", "missing_api_key")

    def _holder(self, key: ApiKey | None) -> Caller:
        if key is None:
            raise Denied(401, "not a key of this service", "invalid_api_key")
        if ended := key.dead(self._clock()):
            raise Denied(401, f"this key is {ended}; ask for another", f"{ended}_api_key")
        scopes = frozenset(scope for scope in _ALL if scope in key.scopes)
        return Caller(key.id, key.label, _ALL if "admin" in scopes else scopes, open=False)


_BEARER = HTTPBearer(
    scheme_name="api_key",
    description="A key of `rlhf keys create`. On loopback, none is needed until one exists.",
    auto_error=False,
)


def address_of(request: Request) -> str:
    """Where a request comes from, as far as the server knows."""
    return request.client.host if request.client else "unknown"


def needs(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A FastAPI dependency: the caller, whom the scope lets in."""

    async def caller(
        request: Request,
        # Read from the header below; named here for the OpenAPI page.
        _given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    ) -> Caller:
        access: Access = request.app.state.service.access
        if access.stale:
            await asyncio.to_thread(access.refresh)
        passed = admit(request, scope)
        request.state.key_id = None if passed.open else passed.id  # for the log
        return passed

    return caller


def admit(request: Request, scope: Scope) -> Caller:
    """The caller, by a key or a session; raises `Denied`, or the store's errors."""
    access: Access = request.app.state.service.access
    authorization = request.headers.get("authorization")
    session = session_of(request) if authorization is None else None
    if session is not None and request.method not in SAFE_METHODS and not access.open:
        access.from_page(session, request.headers.get(CSRF_HEADER))
    return access.check(authorization, scope, address_of(request), session)
