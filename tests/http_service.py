"""A service over a store and an engine, on a free port, with real HTTP before it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from new_stores import make_store

from feedback_store import Interaction, Store
from rlhf.config import validate
from rlhf.serving.access import Access
from rlhf.serving.app import make_app
from rlhf.serving.engines import Engine
from rlhf.serving.guidelines import read_guidelines
from rlhf.serving.hardening import harden
from rlhf.serving.screening import Screen
from rlhf.serving.server import Server, bound, make_server
from rlhf.serving.service import Service
from rlhf.serving.settings import ServeConfig
from rlhf.serving.traffic import Traffic
from rlhf.serving.vote_tokens import VoteTokens


@dataclass
class Served:
    """One running service, seen from a client."""

    url: str
    service: Service
    app: Any
    stop: Callable[[], None]
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.service.store

    def key(self, scope: str) -> str:
        """A key of this scope alone; from the first one on, the service asks for keys."""
        if scope not in self.secrets:
            _, self.secrets[scope] = self.store.create_api_key([scope], scope)
        return self.secrets[scope]

    def client(self, scope: str | None = None, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key(scope)}"} if scope else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)

    def ask(self, content: str, **body: Any) -> httpx.Response:
        """Ask with one user turn."""
        said = {"model": "champion", "messages": [{"role": "user", "content": content}], **body}
        with self.client("chat" if self.secrets else None) as client:
            return client.post("/v1/chat/completions", json=said)

    def wait_until_idle(self) -> None:
        """Until no answer is under way."""
        _until(lambda: not self.app.state.answers, 10.0)

    def recorded(self, count: int, seconds: float = 10.0) -> list[Interaction]:
        """The store's interactions, once there are so many."""
        end = time.monotonic() + seconds
        while len(found := list(self.store.interactions())) < count and time.monotonic() < end:
            time.sleep(0.01)
        assert len(found) == count
        return found


def config_of(tiny_model: Path, folder: Path, **values: Any) -> ServeConfig:
    """A service's settings for the tiny model, with these changed."""
    given = {
        "base_model": str(tiny_model),
        "dtype": "float32",
        "store": str(folder / "store.db"),
        "sampling": {"max_new_tokens": 64},
        "style": None,
        "port": 0,
    }
    return validate(ServeConfig, {**given, **values}, "serve.yaml")


@contextmanager
def serving(
    config: ServeConfig, engine: Engine, base: Path, *, open_without_keys: bool = True
) -> Iterator[Served]:
    """Start it in a thread of its own, and stop it as an operator would."""
    if "://" not in config.store:
        make_store(Path(config.store))
    with Store.open(config.store) as store:
        running = _Running(config, engine, base, store, open_without_keys)
        running.start()
        try:
            yield running.served()
        finally:
            running.stop()


class _Running(threading.Thread):
    def __init__(
        self, config: ServeConfig, engine: Engine, base: Path, store: Store, open_: bool
    ) -> None:
        super().__init__(daemon=True)
        self.config, self.engine, self.base, self.store, self.open = (
            config,
            engine,
            base,
            store,
            open_,
        )
        self.listener = bound("127.0.0.1", config.port)
        self.port = self.listener.getsockname()[1]
        self.poll = 0.0  # keys made by a test hold at once
        self.failure: BaseException | None = None
        self.server: Server | None = None
        self.service: Service | None = None
        self.app: Any = None

    def run(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self.failure = error

    async def _run(self) -> None:
        await self.engine.start()
        traffic = Traffic(self.store, self.engine, self.config, self.base, lambda news: None)
        await traffic.start()
        config = self.config
        self.service = Service(
            config=config,
            store=self.store,
            engine=self.engine,
            traffic=traffic,
            access=Access(
                self.store,
                config.limits,
                open_without_keys=self.open,
                guests=config.guests,
                poll_seconds=self.poll,
            ),
            tokens=VoteTokens(self.store, config.vote_token_hours),
            screen=Screen(config.screen, self.base),
            guidelines=read_guidelines(config.review.guidelines, self.base),
        )
        self.app = make_app(self.service)
        hardened = harden(self.app, config, self.service.access, self.service.telemetry)
        self.server = make_server(hardened, config, self.service.telemetry)
        watch = asyncio.create_task(traffic.watch())
        try:
            await self.server.serve(sockets=[self.listener])
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await self.engine.close()

    def served(self) -> Served:
        _until(lambda: self.failure is not None or (self.server and self.server.started))
        if self.failure is not None:
            raise self.failure
        assert self.server is not None and self.service is not None
        return Served(f"http://127.0.0.1:{self.port}", self.service, self.app, self.stop)

    def stop(self) -> None:
        if self.server is not None:
            self.server.should_exit = True
        self.join(timeout=30)
        assert not self.is_alive(), "the server did not stop"
        if self.failure is not None:
            raise self.failure


def _until(done: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)
