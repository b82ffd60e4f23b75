"""A service on a free port that answers as a test scripts it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One reply: what is sent, and how badly."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    drip_s: float = 0.0  # between single bytes
    hang_up: bool = False


@dataclass
class Asked:
    """One request as it came in."""

    body: Any
    headers: dict[str, str]
    at: float


def scored(scores: Any) -> Reply:
    return Reply(json.dumps({"scores": scores}).encode())


def said(content: str) -> Reply:
    """A chat completion."""
    message = {"role": "assistant", "content": content}
    return Reply(json.dumps({"choices": [{"message": message}]}).encode())


@contextmanager
def scoring(answer: Callable[[Any, int], Reply]) -> Iterator[tuple[str, list[Asked]]]:
    """Serve `answer(body, number of the request)`; yields the address and what was asked."""
    asked: list[Asked] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                number = len(asked)
                asked.append(Asked(body, dict(self.headers.items()), time.monotonic()))
            with suppress(OSError):  # the client had enough
                self._send(answer(body, number))

        def _send(self, reply: Reply) -> None:
            if reply.hang_up:
                self.connection.close()
                return
            time.sleep(reply.wait_s)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if not reply.drip_s:
                self.wfile.write(reply.body)
            for byte in reply.body if reply.drip_s else b"":
                self.wfile.write(bytes([byte]))
                time.sleep(reply.drip_s)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/score", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
