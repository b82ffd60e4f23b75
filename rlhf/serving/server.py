"""`rlhf serve`: everything opened in order, run until SIGTERM, and closed in the other order.

socket ─▶ store ─▶ keys ─▶ engine ─▶ policies in traffic ─▶ app ─▶ requests
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feedback_store import Store, StoreError
from rlhf.errors import RlhfError, StepFailed, UsageError
from rlhf.serving.access import Access
from rlhf.serving.engines import EngineFailed
from rlhf.serving.hardening import harden
from rlhf.serving.logs import set_up, tell, told
from rlhf.serving.protocol import guarded
from rlhf.serving.settings import ServeConfig
from rlhf.serving.telemetry import Telemetry

if TYPE_CHECKING:
    from rlhf.serving.service import Service

_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than proxies keep theirs, so that it is they who close."""
_CANCEL_SECONDS: Final = 10.0
"""For answers that were broken off, to be recorded."""


def serve(config: ServeConfig, base: Path) -> None:
    """Serve until stopped; returns after a graceful shutdown.

    Raises `UsageError` for an address that can't be had, or that isn't loopback and has no keys;
    `RlhfError` and `StoreError` where store, model or engine can't be used.
    """
    with bound(config.host, config.port) as listener, Store.open(config.store) as store:
        loopback = is_loopback(listener)
        refuse_without_keys(store, config.host, loopback)
        set_up()
        telemetry = Telemetry()
        service = make_service(config, base, store, telemetry, loopback=loopback)
        run(service, listener)
    tell("stopped")


def make_service(
    config: ServeConfig, base: Path, store: Store, telemetry: Telemetry, *, loopback: bool
) -> Service:
    """The parts of a service, none of them started."""
    from rlhf.serving.engines.make import make_engine
    from rlhf.serving.guidelines import read_guidelines
    from rlhf.serving.screening import Screen
    from rlhf.serving.service import Service
    from rlhf.serving.traffic import Traffic
    from rlhf.serving.vote_tokens import VoteTokens

    def news(text: str) -> None:
        telemetry.policy_changed()
        tell("policies", news=text)

    engine = make_engine(config)
    return Service(
        config=config,
        store=store,
        engine=engine,
        traffic=Traffic(store, engine, config, base, news),
        access=Access(
            store,
            config.limits,
            open_without_keys=loopback,
            guests=config.guests,
            poll_seconds=config.poll_seconds,
        ),
        tokens=VoteTokens(store, config.vote_token_hours),
        screen=Screen(config.screen, base),
        guidelines=read_guidelines(config.review.guidelines, base),
        telemetry=telemetry,
    )


def run(service: Service, listener: socket.socket) -> None:
    """Serve a service on a socket until SIGTERM or SIGINT."""
    from rlhf.serving.app import make_app

    app = Lifespan(make_app(service))
    hardened = harden(app, service.config, service.access, service.telemetry)
    server = make_server(hardened, service.config, service.telemetry)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_run(service, server, listener, app))


async def _run(service: Service, server: Server, listener: socket.socket, app: Lifespan) -> None:
    try:
        await service.engine.start()
        await service.traffic.start()
        await service.screen.start()
        watching = asyncio.create_task(_watch(service))
        # What is loaded by now stays: to look through it for garbage stops all answers and votes
        # for a third of a second and more.
        gc.freeze()
        try:
            await server.serve(sockets=[listener])
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    except EngineFailed as error:
        raise StepFailed(f"the engine: {error}") from error
    except SystemExit:
        raise app.failure or StepFailed("the service did not start; see the lines above") from None
    finally:
        await service.screen.close()
        await service.engine.close()


async def _watch(service: Service) -> None:
    """Follow the store for new champions; a bug there must not freeze the policies for good."""
    while True:
        try:
            await service.traffic.watch()
        except Exception as error:
            tell("watching failed", logging.ERROR, **told(error))
        await asyncio.sleep(service.config.poll_seconds)


def make_server(app: ASGIApp, config: ServeConfig, telemetry: Telemetry) -> Server:
    """A server for an app, under the limits."""

    def closed(reason: str) -> None:
        telemetry.closed(reason)
        tell("connection closed", reason=reason)

    settings = uvicorn.Config(
        app,
        http=guarded(config.limits, closed),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        lifespan="on",
    )
    return Server(settings, config.grace_seconds)


class Server(uvicorn.Server):
    """uvicorn's, but a signal is no failure, and answers broken off at the end are waited for."""

    def __init__(self, config: uvicorn.Config, grace_seconds: float) -> None:
        super().__init__(config)
        self._grace = grace_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn's, without raising the signal again, which would skip all that closes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where it listens, for people and for scripts that asked for a free port."""
        await super().startup(sockets=sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            tell("listening", url=f"http://{name}:{port}", pid=os.getpid())
            if sys.stdout.isatty():
                print(f"\nOpen http://{name}:{port}/ in a browser. Ctrl-C stops.\n", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to listen, let answers end, break off the rest and wait until they are recorded."""
        tell("stopping", under_way=len(self.server_state.tasks))
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._finished(self._grace)
        left = list(self.server_state.tasks)
        if left:
            tell("broken off", answers=len(left))
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)
        await self.lifespan.shutdown()

    async def _finished(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self.server_state.tasks and not self.force_exit:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.wait(list(self.server_state.tasks), timeout=0.1)


class Lifespan:
    """An app whose failure to start is kept, so that it can be told in one line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def without_traceback(message: Message) -> None:
            await send({"type": message["type"]})

        try:
            await self._app(scope, receive, without_traceback)
        except Exception as error:
            self.failure = error
            if not isinstance(error, RlhfError | StoreError):
                tell("failed", logging.ERROR, **told(error))


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address, and doesn't listen before there is something to answer."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"host {host}: no such address ({error})") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"{host}:{port}: {error.strerror}; name another with host= and port= (0: a free one)"
        ) from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether nobody outside this machine reaches the socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def refuse_without_keys(store: Store, host: str, loopback: bool) -> None:
    """Off loopback, everybody could chat, vote and read: raises `UsageError` without any key."""
    if not loopback and not store.api_keys():
        raise UsageError(
            f"host {host}: off loopback the service asks for API keys and there are none; "
            f"make one with `rlhf keys create --scope chat --store {store.name}`"
        )
