"""Compliance checks in processes of their own, so that one can be late without the others.

A regular expression holds Python's lock while it runs: in a thread, a user's rule that backtracks
would stop the whole server, and nothing could end it. A process is killed at its time-out and
started again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

_START_SECONDS = 30.0  # until a fresh process has read its rules
_PAUSE_SECONDS = 1.0  # after one that could not start


class _Gone(Exception):
    """The process ended, or never came up."""


class _Checker:
    """One `python -m rlhf.serving.checker`: a line of JSON in, a line of JSON out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, rules: Path | None, seconds: float) -> _Checker:
        # It imports what this process can import, from wherever it is started.
        paths = os.pathsep.join(path for path in sys.path if path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rlhf.serving.checker", str(seconds)),
            *([str(rules)] if rules else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # a terminal's Ctrl-C is the server's to answer
        )
        checker = cls(process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await checker.answer()
        except BaseException:
            await checker.kill()
            raise
        return checker

    async def ask(self, prompt: str, answer: str) -> list[str]:
        assert self._process.stdin is not None
        line = json.dumps([prompt, answer])
        try:
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _Gone from error
        return await self.answer()

    async def answer(self) -> list[str]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise _Gone
        names: list[str] = json.loads(line)
        return names

    async def kill(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.stdin.close()
        await self._process.stdout.read()  # to its end: then the pipe is closed, too
        await self._process.wait()


class Checkers:
    """A few checkers; who finds none free waits, no longer than the time for one check."""

    def __init__(self, rules: Path | None, seconds: float, count: int = 2) -> None:
        self._rules, self._seconds, self._count = rules, seconds, count
        self._free: asyncio.Queue[_Checker] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self) -> None:
        """Returns when the first checks can be asked for; again, it does nothing."""
        if self._started is None:
            self._started = asyncio.create_task(self._start_all())
        await asyncio.shield(self._started)

    async def close(self) -> None:
        """End the processes, once the checks under way are done or late."""
        self._closing = True
        # Nothing is cancelled: a process whose start is cut off would have no owner.
        await asyncio.gather(*self._tasks, *([self._started] if self._started else []))
        while not self._free.empty():
            await self._free.get_nowait().kill()

    async def ask(self, prompt: str, answer: str) -> list[str] | None:
        """The names of broken rules; None where the check was not done in time."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self.start()
        except TimeoutError:
            return None
        done: asyncio.Future[list[str] | None] = asyncio.get_running_loop().create_future()
        # A task of its own: a client that goes away must not take a checker with it, half used.
        self._keep(self._check(prompt, answer, done))
        return await done

    async def _check(
        self, prompt: str, answer: str, done: asyncio.Future[list[str] | None]
    ) -> None:
        checker, names = None, None
        try:
            async with asyncio.timeout(self._seconds):
                checker = await self._free.get()
                names = await checker.ask(prompt, answer)
        except (TimeoutError, _Gone):
            _log.warning("a compliance check was not done in %g s", self._seconds)
        finally:
            if not done.done():
                done.set_result(names)
            if names is not None and checker is not None:
                self._free.put_nowait(checker)
            elif checker is not None:
                await checker.kill()
        if names is None and checker is not None:
            await self._renew()

    async def _start_all(self) -> None:
        await asyncio.gather(*(self._renew() for _ in range(self._count)))

    async def _renew(self) -> None:
        """Put a fresh checker among the free ones, however often that takes."""
        while not self._closing:
            try:
                self._free.put_nowait(await _Checker.start(self._rules, self._seconds))
                return
            except (TimeoutError, _Gone, OSError) as error:
                _log.error("a compliance checker can't start: %s", type(error).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _keep(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
