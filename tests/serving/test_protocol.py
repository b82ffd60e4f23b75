"""Clients that drip, stall, flood or don't read lose their connection, and nobody else does."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from running_server import Running, read_all, read_until

from feedback_store import Store

LIMITS = {"header_seconds": 0.5, "body_seconds": 0.5, "body_bytes": 100_000}
GET = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/ping")
    async def ping() -> str:
        return "pong"

    @made.post("/size")
    async def size(request: Request) -> dict[str, object]:
        body = await request.body()
        return {"size": len(body), "late": request.headers.get("x-late")}

    @made.post("/deaf")
    async def deaf() -> str:
        return "no body was read"

    @made.get("/slow")
    async def slow() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield b"x"
                await asyncio.sleep(0.2)

        return StreamingResponse(pieces())

    @made.get("/large")
    async def large() -> Response:
        return Response(b"x" * 50_000_000)

    return made


@pytest.fixture
def server(store: Store) -> Iterator[Running]:
    with Running(app(), store, limits=LIMITS) as running:
        yield running


def took(link: socket.socket) -> tuple[float, bytes]:
    began = time.monotonic()
    told = read_all(link)
    return time.monotonic() - began, told


def drip(link: socket.socket, text: bytes, pause: float = 0.05) -> tuple[float, bytes]:
    """Send byte after byte until the other side has had enough."""
    began = time.monotonic()
    link.settimeout(pause)
    told = b""
    for byte in text:
        try:
            link.sendall(bytes([byte]))
            more = link.recv(65_536)
            told += more
            if not more:
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began, told


@pytest.mark.parametrize("start", [b"", b"\r\n", GET, GET + b"X-A: "])
def test_headers_have_their_time_from_the_connection_on(server: Running, start: bytes) -> None:
    with server.connect(start) as link:
        seconds, told = took(link)
    assert 0.3 < seconds < 2 and told == b""
    assert server.figure("rlhf_connections_closed_total", reason="headers_late") == 1


@pytest.mark.parametrize("text", [b"X-A: " + b"a" * 500, b"\r\n" * 250])
def test_dripping_gains_no_time_on_the_first_request_or_the_next(
    server: Running, text: bytes
) -> None:
    with server.connect(GET if text[:1] == b"X" else b"") as link:
        seconds, told = drip(link, text)
    assert seconds < 2 and b"200 OK" not in told
    with server.connect(GET + b"\r\n") as link:
        assert b"pong" in read_until(link, b"pong")
        seconds, told = drip(link, (GET if text[:1] == b"X" else b"") + text)
    assert seconds < 2 and told == b""


def test_a_quiet_connection_is_kept_for_the_next_request(server: Running) -> None:
    with server.connect(GET + b"\r\n") as link:
        assert b"pong" in read_until(link, b"pong")
        time.sleep(0.8)
        link.sendall(GET + b"\r\n")
        assert b"pong" in read_until(link, b"pong")


@pytest.mark.parametrize(
    "length", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_a_body_has_its_time(server: Running, length: bytes) -> None:
    start = b"64\r\n" if b"chunked" in length else b""
    with server.connect(POST + length + start) as link:
        seconds, told = drip(link, b"{" * 100)
    assert seconds < 2 and told.startswith(b"HTTP/1.1 408 ")
    head, _, body = told.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == "body_timeout"
    assert httpx.get(server.url + "/ping").json() == "pong"


def test_a_body_nobody_reads_has_its_time_too(server: Running) -> None:
    request = POST.replace(b"/size", b"/deaf") + b"Content-Length: 1000\r\n\r\n"
    with server.connect(request) as link:
        seconds, told = drip(link, b"{" * 100)
    assert seconds < 2 and told.count(b"HTTP/1.1") == 1 and b"200 OK" in told


def test_an_answer_may_take_longer_than_headers_and_body_may(server: Running) -> None:
    with server.connect(GET.replace(b"/ping", b"/slow") + b"Connection: close\r\n\r\n") as link:
        seconds, told = took(link)
    assert seconds > 1.3 and told.endswith(b"0\r\n\r\n")


def test_a_request_sent_ahead_does_not_break_the_answer_before_it(server: Running) -> None:
    ahead = GET.replace(b"/ping", b"/slow") + b"\r\n" + POST + b"Content-Length: 5\r\n\r\n12"
    with server.connect(ahead) as link:
        _, told = took(link)
    assert told.count(b"1\r\nx\r\n") == 8 and b"0\r\n\r\n" in told
    with server.connect(GET.replace(b"/ping", b"/slow") + b"\r\n" + GET) as link:
        _, told = took(link)
    assert told.count(b"1\r\nx\r\n") == 8 and b"0\r\n\r\n" in told


def test_headers_without_end_are_refused(server: Running) -> None:
    with server.connect(GET) as link:
        with pytest.raises(OSError):
            for _ in range(200):
                link.sendall(b"X-A: " + b"a" * 2_000 + b"\r\n")
                time.sleep(0.001)
        told = read_all(link)
    assert told == b"" or told.startswith(b"HTTP/1.1 431 ")  # unread bytes may reset the link
    assert server.figure("rlhf_connections_closed_total", reason="long_headers") == 1


def test_a_large_body_is_no_header(store: Store) -> None:
    limits = {**LIMITS, "body_bytes": 5_000_000}
    with Running(app(), store, limits=limits) as server:
        for size in (70_000, 200_000, 4_000_000):
            assert httpx.post(server.url + "/size", content=b"a" * size).json()["size"] == size


def test_trailers_do_not_become_headers(server: Running) -> None:
    body = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n"
    with server.connect(POST + body) as link:
        assert b'{"size":2,"late":null}' in read_until(link, b'{"size":2,"late":null}')


def test_a_client_that_does_not_read_is_let_go(server: Running) -> None:
    with server.connect(GET.replace(b"/ping", b"/large") + b"\r\n"):
        wait_for(server, 1)
        wait_for(server, 0)
    assert server.figure("rlhf_connections_closed_total", reason="unread") == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_hurts_nobody(server: Running, garbage: bytes) -> None:
    with server.connect(garbage) as link:
        _, told = took(link)
    assert told == b"" or told.startswith(b"HTTP/1.1 4")
    assert httpx.get(server.url + "/ping").json() == "pong"


def test_a_full_house_makes_room_by_letting_the_quietest_go(store: Store) -> None:
    limits = {**LIMITS, "connections": 5, "header_seconds": 30.0}
    with Running(app(), store, limits=limits) as server, ExitStack() as stack:
        slow = stack.enter_context(server.connect(GET.replace(b"/ping", b"/slow") + b"\r\n"))
        links = [stack.enter_context(server.connect(GET)) for _ in range(4)]
        wait_for(server, 5)
        assert httpx.get(server.url + "/ping").json() == "pong"
        assert links[0].recv(1) == b""
        links[1].sendall(b"\r\n")
        assert b"pong" in read_until(links[1], b"pong")
        assert b"200 OK" in read_until(slow, b"200 OK")
        assert server.figure("rlhf_connections_closed_total", reason="made_room") == 1


def test_where_all_are_busy_the_next_is_told_so(store: Store) -> None:
    limits = {**LIMITS, "connections": 3}
    slow = GET.replace(b"/ping", b"/slow") + b"\r\n"
    with Running(app(), store, limits=limits) as server, ExitStack() as stack:
        for _ in range(3):
            assert b"200 OK" in read_until(stack.enter_context(server.connect(slow)), b"200 OK")
        assert httpx.get(server.url + "/ping").status_code == 503


def wait_for(server: Running, connections: int) -> None:
    deadline = time.monotonic() + 5
    while len(server.server.server_state.connections) != connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def dripping(server: Running, count: int) -> Iterator[None]:
    """So many clients that send a byte each twice a second, and come back when they are closed."""
    stop = threading.Event()

    def work() -> None:
        links = [server.connect(GET) for _ in range(count)]
        while not stop.wait(0.25):
            for place, link in enumerate(links):
                try:
                    link.sendall(b"a")
                except OSError:
                    link.close()
                    links[place] = server.connect(GET)
        for link in links:
            link.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def p99(server: Running, count: int = 2_000) -> float:
    """Of requests, each on a connection of its own, in seconds."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        with server.connect(GET + b"Connection: close\r\n\r\n") as link:
            assert b"pong" in read_all(link)
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[int(0.99 * count)]


@pytest.mark.slow
def test_two_hundred_dripping_connections_slow_nobody_down(store: Store) -> None:
    limits = {"connections": 100, "header_seconds": 2.0, "requests_per_minute": 100_000}
    with Running(app(), store, limits=limits) as server:
        p99(server, 200)
        calm = p99(server)
        with dripping(server, 200):
            time.sleep(1)
            beset = p99(server)
    print(f"p99 {calm * 1000:.1f} ms alone, {beset * 1000:.1f} ms beside 200 dripping connections")
    assert beset <= 2 * calm + 0.005
