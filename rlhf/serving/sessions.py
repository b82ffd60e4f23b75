"""Browsers' sessions: a signed cookie says which browser this is, and which key it signed in with.

A cookie is `<payload>.<mac>`: the browser's own random id (its visitor's conversations hang on
it), the id of the API key or nothing, and when it expires. Scripts can't read it, other sites
can't send it; requests that change something also bring `X-CSRF-Token`, which only a page of this
service was told. Nothing is kept: a revoked key ends its sessions by itself.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from feedback_store import Store
from feedback_store.store import utc_now

COOKIE: Final = "rlhf_session"
CSRF_HEADER: Final = "X-CSRF-Token"
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_DAYS: Final = 30
_MAX: Final = 300


@dataclass(frozen=True)
class Session:
    """One browser."""

    guest: str
    """Its own id."""
    key: str | None
    """The id of the API key that it signed in with."""
    cookie: str
    """The value that said so."""

    @property
    def user(self) -> str:
        """Whom the store knows its visitor as (a pseudonym is made of it)."""
        return f"web:{self.guest}"


class Sessions:
    """Makes them and reads them back; safe from any thread."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._key = store.keyed_hash("session", b"")

    def make(self, guest: str | None = None, key: str | None = None) -> Session:
        """A session of a known browser, or of a new one."""
        guest = guest or secrets.token_hex(16)
        expires = int((self._clock() + timedelta(days=_DAYS)).timestamp())
        payload = f"{guest}:{key or ''}:{expires}"
        return Session(guest, key, f"{payload}.{self._mac('cookie', payload)}")

    def read(self, cookie: str | None) -> Session | None:
        """The session that a cookie tells of; None for one that isn't ours or has expired."""
        if not cookie or len(cookie) > _MAX or not cookie.isascii():
            return None
        payload, _, mac = cookie.rpartition(".")
        if not hmac.compare_digest(self._mac("cookie", payload), mac):
            return None
        guest, key, expires = payload.split(":")
        if int(expires) <= self._clock().timestamp():
            return None
        return Session(guest, key or None, cookie)

    def csrf(self, session: Session) -> str:
        """What a page of ours sends back with what changes something."""
        return self._mac("csrf", session.cookie)

    def is_own(self, session: Session, token: str | None) -> bool:
        """Whether a request came from a page of ours."""
        given = (token or "").encode("utf-8", "surrogatepass")
        return hmac.compare_digest(self.csrf(session).encode(), given)

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256").hex()[:40]


def cookie_of(request: HTTPConnection) -> str | None:
    """The cookie's value as the browser sent it."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(request.headers.get("cookie", "")[:8_192])
    except CookieError:
        return None
    return jar[COOKIE].value if COOKIE in jar else None


def session_of(request: HTTPConnection) -> Session | None:
    """The browser that asks; None for whoever isn't one, or is here for the first time."""
    sessions: Sessions = request.app.state.service.access.sessions
    return sessions.read(cookie_of(request))


def guest_of(request: HTTPConnection) -> str | None:
    """The asking browser's own id."""
    session = session_of(request)
    return None if session is None else session.guest


def set_cookie(request: HTTPConnection, response: Response, session: Session) -> None:
    """Give a browser its session."""
    response.set_cookie(
        COOKIE,
        session.cookie,
        max_age=_DAYS * 86_400,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
