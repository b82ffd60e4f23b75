"""Run a reward here, or in a process of its own that a time-out can kill.

A process of its own keeps a crash or a hang of a user's reward away from the training run. It is
no sandbox: the code still has this user's files and network; `rewards.sandbox` is one.
"""

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer
from typing import Any, Protocol

from rewards.errors import BadParameter, RewardError
from rewards.running.outcome import Outcome, describe, invalid, read_scores
from rewards.running.signature import to_json
from rewards.running.spec import RewardFn, RewardSpec, bind
from rewards.texts.text import Answers, Turn

START_TIMEOUT_S = 120.0  # to import a user's module and what it needs, often torch
DEFAULT_TIMEOUT_S = 60.0

Columns = Mapping[str, Sequence[Any]]


class Executor(Protocol):
    """Scores a batch with one reward; every failure of the reward is an invalid outcome."""

    def score(
        self,
        spec: RewardSpec,
        params: Mapping[str, Any],
        prompts: Sequence[Turn],
        completions: Sequence[Turn],
        columns: Columns,
    ) -> Sequence[Outcome]: ...

    def close(self) -> None: ...


class InProcess:
    """Calls the reward in this process, without a time-out."""

    def __init__(self, base: Path | None = None) -> None:
        self._base = base
        self._bound: tuple[RewardSpec, Mapping[str, Any], RewardFn] | None = None

    def score(
        self,
        spec: RewardSpec,
        params: Mapping[str, Any],
        prompts: Sequence[Turn],
        completions: Sequence[Turn],
        columns: Columns,
    ) -> Sequence[Outcome]:
        given = completions if spec.shipped else list(completions)
        if not spec.shipped:  # it may change its parameters, and has them anew
            return call(bind(spec, params, base=self._base), prompts, given, columns)
        if not self._bound or self._bound[:2] != (spec, params):
            self._bound = spec, params, bind(spec, params, base=self._base)
        return call(self._bound[2], prompts, given, columns)

    def close(self) -> None:
        pass


def call(
    fn: RewardFn, prompts: Sequence[Turn], completions: Sequence[Turn], columns: Columns
) -> Sequence[Outcome]:
    """Run the user's code: the one place where any exception is an answer."""
    try:
        # A user's code has lists of its own, which it may change.
        given = completions if isinstance(completions, Answers) else list(completions)
        returned = fn(prompts=list(prompts), completions=given, **columns)
        return read_scores(returned, len(completions))
    except (Exception, SystemExit) as error:
        reason = describe(error, prompts, completions, columns)
        return invalid(len(completions), reason)


class OwnProcess:
    """Calls the reward in a worker process, killed after `timeout_s` and started again after it.

    Loading the reward does not count towards the time-out. Rows travel as JSON, so a column that
    JSON can't hold is refused. Use it as a context manager, or call `close`.
    """

    def __init__(self, timeout_s: float = DEFAULT_TIMEOUT_S, base: Path | None = None) -> None:
        self._timeout_s = timeout_s
        self._base = base
        self._worker: _Worker | None = None
        self._loaded = ""  # the reward that the worker holds, as the line that asked for it

    def score(
        self,
        spec: RewardSpec,
        params: Mapping[str, Any],
        prompts: Sequence[Turn],
        completions: Sequence[Turn],
        columns: Columns,
    ) -> list[Outcome]:
        rows = {"prompts": list(prompts), "completions": list(completions)}
        # A factory's reward tells its columns in the worker only.
        chosen = columns if spec.signature.factory else spec.signature.accepted(columns)
        batch = to_json({**rows, "columns": sendable(spec.name, chosen)})
        try:
            worker = self._start(spec, params)
            answer = json.loads(worker.ask(batch, self._timeout_s))
        except WorkerGone as gone:
            self.close()
            return invalid(len(completions), str(gone))
        return [Outcome(*outcome) for outcome in answer]

    def close(self) -> None:
        if self._worker:
            self._worker.close()
        self._worker = None

    def __enter__(self) -> "OwnProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, spec: RewardSpec, params: Mapping[str, Any]) -> "_Worker":
        """Return a worker that has loaded this reward; its mistakes raise here as they would."""
        spec.signature.check(spec.name, params)
        base = str(self._base) if self._base else None
        wanted = to_json({"ref": spec.source, "params": dict(params), "base": base})
        if self._worker and self._loaded == wanted:
            return self._worker
        self.close()
        self._worker, self._loaded = _Worker(), wanted
        answer = json.loads(self._worker.ask(wanted, START_TIMEOUT_S))
        if answer["error"]:
            raise RewardError(answer["error"])
        return self._worker


class WorkerGone(Exception):
    """The worker was killed at its time-out, or died by itself."""


class _Worker:
    """One `python -m rewards.running.worker`: a line of JSON in, a line of JSON out."""

    def __init__(self) -> None:
        # The worker imports what this process can import, from wherever it is started.
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rewards.running.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # so that what the reward started dies with it
        )
        self._end = weakref.finalize(self, _kill, self._process)

    def ask(self, line: str, timeout_s: float) -> bytes:
        """Send one line and return the answer, or raise WorkerGone."""
        process, timed_out = self._process, Event()
        assert process.stdin is not None and process.stdout is not None

        def expire() -> None:
            timed_out.set()
            _kill_group(process)  # which ends the blocking read or write below

        timer = Timer(timeout_s, expire)
        timer.start()
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        finally:
            timer.cancel()
        if timed_out.is_set():
            raise WorkerGone(f"timed out after {timeout_s:g} s")
        if not answer.endswith(b"\n"):
            raise WorkerGone(f"its process died with exit code {_exit_code(process)}")
        return answer

    def close(self) -> None:
        self._end()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    _kill_group(process)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):  # a batch that it never read is still in the buffer
            pipe.close()


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _exit_code(process: "subprocess.Popen[bytes]") -> int:
    """Wait for a process that closed its output, which is nearly always its end."""
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        return process.wait()


def sendable(reward: str, columns: Columns) -> dict[str, Any]:
    """Return columns as lists, refusing one that JSON can't hold."""
    for name, column in columns.items():
        try:
            to_json(list(column))
        except TypeError as error:
            raise BadParameter(
                f"column {name!r} can't be sent to reward {reward!r} in its own process"
                f" ({error}); leave it out or run the reward without `process` and `sandbox`"
            ) from None
    return {name: list(column) for name, column in columns.items()}
