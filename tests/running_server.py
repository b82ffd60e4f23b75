"""A real server on a free port, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

from feedback_store import Store
from rlhf.serving.access import Access
from rlhf.serving.hardening import harden
from rlhf.serving.server import bound, make_server
from rlhf.serving.settings import ServeConfig
from rlhf.serving.telemetry import Telemetry


class Running:
    """An app behind all that stands before the service's own."""

    def __init__(self, app: Any, store: Store, **config: Any) -> None:
        self.config = ServeConfig(**config)
        self.store = store
        self.telemetry = Telemetry()
        self.access = Access(store, self.config.limits, open_without_keys=True)
        hardened = harden(app, self.config, self.access, self.telemetry)
        self._listener = bound("127.0.0.1", 0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = make_server(hardened, self.config, self.telemetry)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self._listener]))

    def __enter__(self) -> Running:
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()

    def connect(self, text: bytes = b"") -> socket.socket:
        """A raw connection that has sent so much."""
        link = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        link.sendall(text)
        return link

    def figure(self, name: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(name, labels) or 0.0


def read_all(link: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    told = b""
    while True:
        try:
            more = link.recv(65_536)
        except ConnectionResetError:
            return told
        if not more:
            return told
        told += more


def read_until(link: socket.socket, end: bytes) -> bytes:
    """What comes up to these bytes, or until the other side closes."""
    told = b""
    while end not in told:
        more = link.recv(65_536)
        if not more:
            return told
        told += more
    return told
