"""An engine in a process of its own, so that votes stay quick while answers are drawn.

The process is started again when it dies, after a pause that grows, with the policies that it had.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from rlhf.errors import DataError, RlhfError
from rlhf.models import ModelSettings
from rlhf.policies import Policy
from rlhf.serving import settings
from rlhf.serving.engines import Ask, EngineFailed, Piece
from rlhf.serving.engines.in_use import InUse
from rlhf.serving.engines.wire import (
    LONGEST_LINE,
    Told,
    ask_message,
    error_of,
    line,
    parsed,
    policy_message,
    told_of,
)

log = logging.getLogger(__name__)

_WORKER = (sys.executable, "-m", "rlhf.serving.engines.worker")
# A thread that draws waits for the others by spinning, for milliseconds, hundreds of times a token.
# Where the server or a training has a core, it does little else: 2 tokens/s in the place of 90. So
# it spins for some tens of microseconds, as long as the next piece of work usually takes to come.
_PATIENT = {"GOMP_SPINCOUNT": "1000"}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_STEADY_S = 60.0  # a process that lived so long was no failure to start
_LEAVE_S = 5.0


News = asyncio.Queue[Told | Exception]
"""Of an ask under way: what the process tells of it, or the error that ended it."""


class ProcessEngine:
    """`Engine` over a worker; `start` says to it which backend to run with what settings."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._start = start
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = 0
        self._answering: dict[int, News] = {}
        self._in_use = InUse()
        self._changes: dict[int, asyncio.Future[None]] = {}
        self._policies: dict[str, Policy] = {}
        """Those that are wanted, also after the process has been started again."""
        self._loaded: set[str] = set()
        """Those that the process has."""
        self._up = asyncio.Event()

    @property
    def alive(self) -> bool:
        return self._up.is_set()

    async def start(self) -> None:
        await self._launch()
        self._up.set()
        self._tasks.append(asyncio.create_task(self._keep()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self._fall("the engine was closed")
        await self._end()

    async def ready(self, policy: Policy) -> None:
        await self._up.wait()
        self._policies[policy.label] = policy
        try:
            await self._load(policy)
        except RlhfError:
            self._policies.pop(policy.label, None)
            raise

    async def drop(self, label: str) -> None:
        self._policies.pop(label, None)
        await self._in_use.until_free(label)
        if label in self._policies or label not in self._loaded:
            return  # wanted again meanwhile, or gone with its process
        self._loaded.discard(label)
        await self._change(lambda number: {"drop": number, "label": label})

    async def answer(self, ask: Ask) -> AsyncIterator[Piece]:
        _check(ask)
        if not self.alive:
            raise EngineFailed("the engine is starting again; try later")
        if ask.policy not in self._policies or ask.policy not in self._loaded:
            raise EngineFailed(f"policy {ask.policy} is not ready")
        with self._in_use.of(ask.policy):
            async with aclosing(self._news(ask)) as news:
                async for n in news:
                    yield Piece(n.text, tuple(n.token_ids), n.finish_reason, n.prompt_tokens)

    async def _news(self, ask: Ask) -> AsyncGenerator[Told, None]:
        self._numbers += 1
        number, ended = self._numbers, False
        news: News = asyncio.Queue()
        self._answering[number] = news
        try:
            await self._say(ask_message(number, ask))
            while not ended:
                told = await news.get()
                ended = isinstance(told, Exception) or told.finish_reason is not None
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            del self._answering[number]
            if not ended:
                self._cancel(number)

    def _cancel(self, number: int) -> None:
        stdin = self._process.stdin if self._process and self.alive else None
        if stdin is not None:
            stdin.write(line({"cancel": number}))

    # Policies

    async def _load(self, policy: Policy) -> None:
        await self._change(lambda number: policy_message(number, policy))
        self._loaded.add(policy.label)

    async def _change(self, message: Any) -> None:
        """Have the process change what it holds; returns when it has."""
        self._numbers += 1
        number = self._numbers
        self._changes[number] = asyncio.get_running_loop().create_future()
        try:
            await self._say(message(number))
            await self._changes[number]
        finally:
            del self._changes[number]

    # The process

    async def _say(self, message: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise EngineFailed("the engine is not running")
        try:
            self._process.stdin.write(line(message))
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise EngineFailed("the engine's process has ended") from error

    async def _launch(self) -> None:
        """Start the process, and wait until it has its base model."""
        self._process = await asyncio.create_subprocess_exec(
            *_WORKER,
            stdin=PIPE,
            stdout=PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # a terminal's Ctrl-C is the server's to answer
            env=_PATIENT | os.environ,
        )
        try:
            await self._say({"start": self._start})
            said = await self._heard()
            if said is None:
                raise EngineFailed("the engine's process ended while it was starting")
            if "failed" in said:
                raise EngineFailed(said["text"])
        except BaseException:
            await self._end()
            raise

    async def _heard(self) -> dict[str, Any] | None:
        """The next message; None when the process has ended."""
        assert self._process is not None and self._process.stdout is not None
        try:
            data = await self._process.stdout.readline()
        except (ConnectionError, ValueError):  # a line too long: not our worker any more
            return None
        return parsed(data) if data.endswith(b"\n") else None

    async def _keep(self) -> None:
        """Listen; when the process dies, say so to all who wait, and start it again."""
        pause = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            if self.alive:
                while (said := await self._heard()) is not None:
                    self._take(said)
                self._fall("the engine's process died")
                await self._end()
                log.error("the engine's process died; it is started again")
            if time.monotonic() - began > _STEADY_S:
                pause = _FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            try:
                await self._relaunch()
            except (EngineFailed, OSError) as error:
                log.error("the engine could not be started again: %s", error)

    async def _relaunch(self) -> None:
        """`_launch`, with the policies that were at hand; one that can't be loaded is left out."""
        await self._launch()
        for policy in list(self._policies.values()):
            load = asyncio.create_task(self._load(policy))
            try:
                await self._listen_until(load)
            finally:
                load.cancel()
            if error := load.exception():
                self._policies.pop(policy.label, None)
                log.error("policy %s is not served any more: %s", policy.label, error)
        self._up.set()

    async def _listen_until(self, load: asyncio.Task[None]) -> None:
        while not load.done():
            said = await self._heard()
            if said is None:
                raise EngineFailed("its process ended while it was loading policies")
            self._take(said)
            await asyncio.sleep(0)

    def _take(self, said: dict[str, Any]) -> None:
        """Hand a message to whom it concerns; they may have gone."""
        for told in told_of(said) if "told" in said else ():
            if told.number in self._answering:
                self._answering[told.number].put_nowait(told)
        if "broke" in said and said["broke"] in self._answering:
            self._answering[said["broke"]].put_nowait(error_of(said))
        change = self._changes.get(said.get("done", said.get("failed", -1)))
        if change is not None and not change.done():
            if "done" in said:
                change.set_result(None)
            else:
                change.set_exception(error_of(said))

    def _fall(self, why: str) -> None:
        """All that is under way ends here."""
        self._up.clear()
        self._loaded.clear()
        for news in self._answering.values():
            news.put_nowait(EngineFailed(why))
        for change in self._changes.values():
            if not change.done():
                change.set_exception(EngineFailed(why))

    async def _end(self) -> None:
        """Without its input the process ends by itself; if not, it is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _LEAVE_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _check(ask: Ask) -> None:
    """Raise `DataError` for text that no tokenizer takes."""
    try:
        for text in (*(m["content"] for m in ask.messages), ask.style or "", *ask.stop):
            text.encode()
    except UnicodeEncodeError as error:
        raise DataError("a turn holds half a character (a lone surrogate); leave it out") from error


class LocalEngine(ProcessEngine):
    """transformers: dynamic batching over one base with many LoRAs."""

    def __init__(self, model: ModelSettings, settings: settings.LocalEngine) -> None:
        super().__init__(
            {
                "engine": settings.kind,
                "model": model.model_dump(),
                "batch_size": settings.batch_size,
                "cache_gb": settings.cache_gb,
                "threads": settings.threads,
            }
        )


class OpenVinoEngine(ProcessEngine):
    """OpenVINO GenAI over a GGUF file or a converted model; it answers for one policy."""

    def __init__(self, model: ModelSettings, settings: settings.OpenVinoEngine) -> None:
        super().__init__(
            {
                "engine": settings.kind,
                "model": model.model_dump(),
                "file": settings.model,
                "batch_size": settings.batch_size,
                "threads": settings.threads,
            }
        )
