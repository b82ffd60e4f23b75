"""Log lines: JSON, one a line, with nothing in them that a user said or that opens a door."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from running_server import Running

from feedback_store import Store
from rlhf.serving.access import Caller, Denied, needs
from rlhf.serving.logs import set_up, tell

WORDS = "my name is Ann 我叫安"


class Asked(BaseModel):
    text: str
    count: int


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged from here on; the process's own logging comes back afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    names = ["rlhf", "feedback_store", "uvicorn", "uvicorn.access"]
    before = (root.handlers, root.level)
    kept = [(n, logging.getLogger(n)) for n in names]
    levels = [(log, log.level, log.handlers, log.propagate, log.disabled) for _, log in kept]
    set_up(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers, root.level = before
    for log, level, handlers, propagate, disabled in levels:
        log.level, log.handlers, log.propagate, log.disabled = level, handlers, propagate, disabled


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def app() -> FastAPI:
    made = FastAPI()

    @made.post("/say/{id}")
    async def say(id: str, asked: Asked, caller: Annotated[Caller, Depends(needs("chat"))]) -> str:
        if asked.count == 1:
            raise ValueError(f"{asked.text} broke it")
        if asked.count == 2:
            Asked.model_validate({"text": asked.text, "count": asked.text})
        if asked.count == 3:
            logging.getLogger("some.library").error("failed on %s", asked.text)
            warnings.warn(asked.text, RuntimeWarning, stacklevel=1)
        return asked.text

    @made.exception_handler(Denied)
    async def denied(_: Request, error: Denied) -> JSONResponse:
        return JSONResponse({"error": {"code": error.code}}, error.status, error.headers)

    return made


@pytest.mark.filterwarnings("default")
def test_no_word_of_a_request_and_no_key_is_logged(store: Store, lines: io.StringIO) -> None:
    key, secret = store.create_api_key(["chat"], "web")
    made = app()
    with Running(made, store) as server:
        made.state.service = server
        headers = {"Authorization": f"Bearer {secret}"}
        for count in range(4):
            httpx.post(
                f"{server.url}/say/{WORDS}?q={WORDS}",
                json={"text": WORDS, "count": count},
                headers={**headers, "X-Request-Id": "forged", "User-Agent": "agent Ann"},
            )
        httpx.post(f"{server.url}/say/Ann", json={}, headers={"Authorization": "Bearer rk_guess"})
        httpx.get(f"{server.url}/Ann\r\n{{}}".replace("\r\n", "%0d%0a"))
        with server.connect(b"GARBAGE Ann\r\n\r\n") as link:
            link.recv(1_000)
    told = lines.getvalue()
    for secret_thing in ("Ann", "\\u6211", secret, "rk_", "forged", "agent", key.hash):
        assert secret_thing not in told
    found = read(lines)
    requests = [line for line in found if line["event"] == "request"]
    assert [line["status"] for line in requests] == [200, 500, 500, 200, 401, 404]
    first = requests[0]
    assert first["route"] == "/say/{id}" and first["method"] == "POST" and first["ms"] > 0
    assert (first["key"], first["level"]) == (key.id, "info")
    assert first["request"].startswith("req_") and first["time"].endswith("+00:00")
    assert "key" not in requests[4] and requests[5]["route"] == "none"
    assert requests[1]["error"] == "ValueError" and requests[2]["error"] == "ValidationError"
    assert any(" say" in frame for frame in requests[1]["frames"])
    assert {"library"} <= {line["event"] for line in found}


def test_a_line_is_one_line_whatever_is_told(lines: io.StringIO) -> None:
    tell("odd", text='a\nb\x1b[31m"\ud800', nothing=None, place=io)
    (line,) = read(lines)
    assert line["text"] == 'a\nb\x1b[31m"\ud800' and "nothing" not in line
    assert lines.getvalue().isascii() and lines.getvalue().count("\n") == 1


def test_uvicorns_access_log_is_off(lines: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info('127.0.0.1 - "GET /?q=Ann HTTP/1.1" 200')
    assert lines.getvalue() == ""
