"""Bodies over the limit, headers for browsers, other origins, foreign hosts, ids and failures."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from running_server import Running, read_all
from starlette.exceptions import HTTPException

from feedback_store import Store
from rlhf.serving.access import Caller, Denied, needs

LIMIT = 20_000
ORIGIN = "https://app.example.org"


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/ping")
    async def ping() -> str:
        return "pong"

    @made.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @made.post("/json")
    async def parsed(body: dict[str, Any]) -> int:
        return len(body)

    @made.post("/deaf")
    async def deaf() -> str:
        return "no body was read"

    @made.get("/own")
    async def own() -> JSONResponse:
        return JSONResponse("x", headers={"Content-Security-Policy": "default-src 'self'"})

    @made.get("/fail")
    async def fail() -> None:
        raise ValueError("a user's secret words")

    @made.get("/admin")
    async def admin(caller: Annotated[Caller, Depends(needs("admin"))]) -> str:
        return caller.id

    @made.exception_handler(HTTPException)
    async def told(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": {"code": f"app_{error.status_code}"}}, error.status_code)

    @made.exception_handler(Denied)
    async def denied(_: Request, error: Denied) -> JSONResponse:
        return JSONResponse({"error": {"code": error.code}}, error.status, error.headers)

    return made


@pytest.fixture
def server(store: Store) -> Iterator[Running]:
    made = app()
    with Running(made, store, limits={"body_bytes": LIMIT, "body_seconds": 5.0}) as running:
        made.state.service = running  # what `needs` reads of a service is its `access`
        yield running


@pytest.mark.parametrize("path", ["/size", "/json", "/deaf", "/nowhere", "/ping"])
def test_a_body_told_too_long_is_refused_before_it_is_sent(server: Running, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
    with server.connect(f"{head}Expect: 100-continue\r\n\r\n".encode()) as link:
        told = read_all(link)
    assert told.startswith(b"HTTP/1.1 413 ") and b"connection: close" in told
    assert b"body_too_large" in told and b"nosniff" in told


@pytest.mark.parametrize("path", ["/size", "/json", "/deaf"])
@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_413_however_they_are_sent(
    server: Running, path: str, chunked: bool
) -> None:
    body = b'{"x": "' + b"a" * 10_000_000 + b'"}'

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    answer = httpx.post(
        server.url + path,
        content=pieces() if chunked else body,
        headers={"Content-Type": "application/json"},
    )
    if chunked and path == "/deaf":  # nobody read it, so nothing was taken in
        assert answer.status_code == 200
    else:
        assert answer.status_code == 413
    assert httpx.get(server.url + "/ping").json() == "pong"


def test_the_limit_is_exact_and_the_app_words_what_it_reads(server: Running) -> None:
    for chunked in (False, True):
        content: Any = [b"a" * LIMIT] if chunked else b"a" * LIMIT
        content = iter(content) if chunked else content
        assert httpx.post(server.url + "/size", content=content).json() == LIMIT
    answer = httpx.post(server.url + "/size", content=iter([b"a" * LIMIT, b"a"]))
    assert answer.status_code == 413 and answer.json() == {"error": {"code": "app_413"}}


def test_every_answer_has_safe_headers_and_an_id(server: Running) -> None:
    answers = [httpx.get(server.url + path) for path in ("/ping", "/nowhere", "/fail", "/admin")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 4 and all(re.fullmatch("req_[0-9a-f]{32}", id) for id in ids)
    page = httpx.get(server.url + "/docs")
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    own = httpx.get(server.url + "/own").headers.get_list("content-security-policy")
    assert own == ["default-src 'self'"]


def test_an_id_is_not_taken_from_the_client(server: Running) -> None:
    answer = httpx.get(server.url + "/ping", headers={"X-Request-Id": "mine"})
    assert answer.headers["x-request-id"] != "mine"


def preflight(server: Running, origin: str) -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,x-vote-token,content-type",
    }
    return httpx.options(server.url + "/size", headers=asked)


def allowed(answer: httpx.Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control-allow")]


def test_other_origins_are_closed_out_by_default(server: Running) -> None:
    assert allowed(preflight(server, ORIGIN)) == []
    answer = httpx.get(server.url + "/ping", headers={"Origin": ORIGIN})
    assert allowed(answer) == []


def test_a_configured_origin_may_call_and_no_other(store: Store) -> None:
    with Running(app(), store, origins=[ORIGIN]) as server:
        answer = preflight(server, ORIGIN)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert "x-vote-token" in answer.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        seen = httpx.get(server.url + "/ping", headers={"Origin": ORIGIN})
        assert seen.headers["access-control-allow-origin"] == ORIGIN
        for other in ("https://evil.example", "null", ORIGIN + ".evil.example"):
            assert "access-control-allow-origin" not in preflight(server, other).headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil", "a:b"]
)
def test_an_open_service_answers_to_localhost_alone(
    server: Running, store: Store, clock: Any, host: str
) -> None:
    answer = httpx.get(server.url + "/ping", headers={"Host": host})
    assert answer.status_code == 403 and "rlhf keys create" in answer.text
    for own in (f"localhost:{server.port}", "LOCALHOST", "[::1]:80", "127.0.0.1"):
        assert httpx.get(server.url + "/ping", headers={"Host": own}).status_code == 200
    # With a key, callers prove who they are, and a proxy may name the service as it likes.
    _, secret = store.create_api_key(["admin"], "x")
    server.access._read_at = None
    named = {"Host": host}
    assert httpx.get(server.url + "/admin", headers=named).status_code == 401
    named["Authorization"] = f"Bearer {secret}"
    assert httpx.get(server.url + "/admin", headers=named).status_code == 200


def test_two_hosts_are_none(server: Running) -> None:
    request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"
    with server.connect(request + b"Connection: close\r\n\r\n") as link:
        assert read_all(link).startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))


def test_a_failure_tells_nothing_of_itself(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = httpx.get(server.url + "/fail")
    assert answer.status_code == 500 and "secret words" not in answer.text
    assert "secret words" not in caplog.text


def test_requests_are_counted_by_their_route(store: Store) -> None:
    with Running(app(), store) as server:
        for path in ("/ping", "/ping?q=secret", "/nowhere/secret", "/fail"):
            httpx.get(server.url + path)
    # Once it has stopped: a client may have its answer before the answer is counted.
    for route, status, count in (("/ping", "200", 2), ("none", "404", 1), ("/fail", "500", 1)):
        figures = {"route": route, "method": "GET", "status": status}
        assert server.figure("rlhf_requests_total", **figures) == count
    assert b"secret" not in server.telemetry.render()
