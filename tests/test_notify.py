"""A webhook's moods, by a real server on a free port."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rlhf.notify import notify


class Hook(ThreadingHTTPServer):
    """Answers with the statuses it was given, the last one from then on; keeps what it was told."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.statuses = statuses
        self.told: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-path"


class Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        left = self.server.statuses
        self.server.told.append(json.loads(body))
        self.send_response(left.pop(0) if len(left) > 1 else left[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook([204])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_told_once(hook: Hook) -> None:
    assert notify(hook.url, "promotion", cycle=3, policy="p1")
    [told] = hook.told
    assert (told["event"], told["cycle"], told["policy"]) == ("promotion", 3, "p1")
    assert "time" in told
    assert not notify(None, "promotion")


def test_a_busy_webhook_is_asked_again(hook: Hook) -> None:
    hook.statuses = [503, 503, 204]
    assert notify(hook.url, "refusal", pause_s=0.01)
    assert len(hook.told) == 3


def test_a_broken_webhook_is_given_up(hook: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    hook.statuses = [500]
    assert not notify(hook.url, "failure", pause_s=0.01)
    assert len(hook.told) == 3
    assert_told_without_address(capsys, "status 500")


def test_a_refusal_is_final(hook: Hook) -> None:
    hook.statuses = [403]
    assert not notify(hook.url, "failure", pause_s=0.01)
    assert len(hook.told) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://secret-path:port/",
        "https://",
        "http://[secret-path",
        "http://" + "secret-path" * 30 + "/",
        "ftp://secret-path/",
    ],
)
def test_an_invalid_address_fails_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not notify(url, "failure", pause_s=0.01)
    assert_told_without_address(capsys, "not told of the failure")


def test_nobody_listening_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/secret-path"
    assert not notify(url, "failure", pause_s=0.01)
    assert_told_without_address(capsys, "ConnectError")


def test_details_that_are_no_json_are_told_as_text(hook: Hook) -> None:
    assert notify(hook.url, "failure", reason=ValueError("half \ud800"))
    assert hook.told[0]["reason"] == "half \ud800"


def assert_told_without_address(capsys: pytest.CaptureFixture[str], why: str) -> None:
    output = capsys.readouterr()
    told = output.out + output.err
    assert why in told and "secret-path" not in told
