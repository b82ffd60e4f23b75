"""A service that scores: JSON over HTTP, with all that a network can do held in bounds.

A request has a time-out as a whole, so that a reply that drips does not hang a step; busy and
broken answers are tried again with growing waits; a reply is read up to a size and believed only
as far as it parses. What goes wrong is told by kinds of our own: the service's words could hold
anything, a key among it.
"""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from threading import Lock
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from rewards.errors import BadParameter

_BUSY = (408, 409, 425, 429)
_LONGEST_WAIT_S = 30.0


class NoReply(Exception):
    """A request brought nothing that can be used."""

    def __init__(self, reason: str, *, again: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait_s = again, wait_s


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how patiently. Raises BadParameter for what can't be right."""

    url: str
    api_key_env: str | None = None
    timeout_s: float = 30.0
    retries: int = 3
    backoff_s: float = 0.5
    concurrency: int = 4
    per_second: float | None = None
    max_bytes: int = 1_000_000

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadParameter(f"url {self.url!r} is no http:// or https:// address")
        if parts.username or parts.password:
            raise BadParameter("url holds a name or password; give the key by api_key_env")
        positive = ("timeout_s", "concurrency", "max_bytes", "per_second")
        wrong = [k for k in positive if (value := getattr(self, k)) is not None and value <= 0]
        wrong += [key for key in ("retries", "backoff_s") if getattr(self, key) < 0]
        if wrong:
            raise BadParameter(f"{wrong[0]} can't be {getattr(self, wrong[0])}")
        self.headers()

    def headers(self) -> dict[str, str]:
        """What every request carries; the key is read from the environment, and kept nowhere."""
        plain = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.api_key_env is None:
            return plain
        key = os.environ.get(self.api_key_env)
        if not key:
            raise BadParameter(f"the environment variable {self.api_key_env} holds no key; set it")
        return {**plain, "Authorization": f"Bearer {key}"}


def ask_all(endpoint: Endpoint, bodies: Sequence[object]) -> list[object]:
    """Post every body; in its place stands the JSON that came back, or a NoReply."""
    with ThreadPoolExecutor(1) as apart:  # the caller may stand in an event loop of its own
        return apart.submit(asyncio.run, _ask_all(endpoint, bodies)).result()


async def _ask_all(endpoint: Endpoint, bodies: Sequence[object]) -> list[object]:
    asking = _Asking(endpoint)
    limits = httpx.Limits(max_connections=endpoint.concurrency)
    async with httpx.AsyncClient(headers=endpoint.headers(), timeout=None, limits=limits) as client:
        return await asyncio.gather(*(asking.ask(client, body) for body in bodies))


class _Asking:
    """One batch's requests: so many at once, and fewer attempts once the service seems down."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._turns = asyncio.Semaphore(endpoint.concurrency)
        self._down = False

    async def ask(self, client: httpx.AsyncClient, body: object) -> object:
        async with self._turns:
            for attempt in range(self._endpoint.retries + 1):
                try:
                    reply = await self._once(client, body)
                except NoReply as problem:
                    if self._down or not problem.again or attempt == self._endpoint.retries:
                        self._down = problem.again
                        return problem
                    wait = max(self._endpoint.backoff_s * 2**attempt, problem.wait_s)
                    await asyncio.sleep(min(wait, _LONGEST_WAIT_S))
                else:
                    self._down = False
                    return reply
        raise AssertionError("the last attempt returns")

    async def _once(self, client: httpx.AsyncClient, body: object) -> object:
        endpoint = self._endpoint
        if endpoint.per_second is not None:
            await asyncio.sleep(_pace(endpoint.url, endpoint.per_second).reserve())
        content = json.dumps(body, allow_nan=False).encode()
        try:
            async with (
                asyncio.timeout(endpoint.timeout_s),
                client.stream("POST", endpoint.url, content=content) as response,
            ):
                _check(response)
                return _parsed(await _read(response, endpoint.max_bytes))
        except TimeoutError:
            raise NoReply(f"no reply in {endpoint.timeout_s:g} s", again=True) from None
        except httpx.HTTPError as error:
            raise NoReply(f"no reply: {type(error).__name__}", again=True) from None


def _check(response: httpx.Response) -> None:
    """Refuse what is no success; a redirect is not followed, it might lead anywhere."""
    if response.is_success:
        return
    code = response.status_code
    known = code in HTTPStatus._value2member_map_
    again = code in _BUSY or code >= 500
    after = response.headers.get("retry-after", "")
    wait_s = float(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0.0
    name = f" {HTTPStatus(code).phrase}" if known else ""
    raise NoReply(f"answered {code}{name}", again=again, wait_s=wait_s)


async def _read(response: httpx.Response, most: int) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise NoReply("its reply is compressed, which was not asked for")
    read = bytearray()
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) > most:
            raise NoReply(f"its reply is longer than {most} bytes")
    return bytes(read)


def _parsed(content: bytes) -> object:
    try:
        value: object = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NoReply("its reply is not JSON") from None
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class _Pace:
    """Turns at a steady rate, handed out to all threads."""

    def __init__(self, per_second: float) -> None:
        self._gap, self._free, self._lock = 1 / per_second, 0.0, Lock()

    def reserve(self) -> float:
        """Take the next turn and return the seconds until it."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._free)
            self._free = turn + self._gap
            return turn - now


@lru_cache(maxsize=64)
def _pace(url: str, per_second: float) -> _Pace:
    """One pace for an address, from batch to batch."""
    return _Pace(per_second)
