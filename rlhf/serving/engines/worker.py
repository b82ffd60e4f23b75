"""The engine's process: `python -m rlhf.serving.engines.worker`, spoken to by `process.py`.

Three threads: one reads what the server says and turns dialogues into tokens, one reads policies
from disk, and the main one draws. It takes the others' results between two tokens. No user's text
is logged, and nothing but messages goes out: what libraries print is sent to stderr.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, BinaryIO, Protocol

from rlhf.errors import RlhfError
from rlhf.policies import Policy
from rlhf.serving.engines import EngineFailed
from rlhf.serving.engines.wire import (
    LONGEST_LINE,
    Question,
    Told,
    error_fields,
    line,
    parsed,
    policy_of,
    question,
    told_message,
)

# The server, which answers votes meanwhile, goes first where both want the processor.
_NICENESS = 5


class Backend(Protocol):
    """What draws. `load` and `asked` run beside it, and give what it does between two turns."""

    @property
    def idle(self) -> bool: ...
    def turn(self, broke: Callable[[int, Exception], None]) -> list[Told]: ...
    def load(self, policy: Policy) -> Callable[[], None]: ...
    def drop(self, label: str) -> None: ...
    def asked(self, question: Question) -> Callable[[], None]: ...
    def cancel(self, number: int) -> None: ...


class Worker:
    """Carries messages between the server and a backend."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink
        self._writing = threading.Lock()
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._loads: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._backend: Backend

    def run(self, make: Callable[[dict[str, Any]], Backend]) -> None:
        """Until the server goes away."""
        start = parsed(self._source.readline(LONGEST_LINE))["start"]
        # From here on the end of the server is the end of this process, also while loading.
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._backend = make(start)
        except RlhfError as error:
            self._send({"failed": 0, **error_fields(error)})
            return
        threading.Thread(target=self._load, daemon=True).start()
        gc.freeze()  # libraries are no garbage; a collection through them would halt all streams
        self._send({"started": True})
        while True:
            self._between_turns()
            if told := self._backend.turn(self._broke):
                self._send(told_message(told))

    def _between_turns(self) -> None:
        """What has come up; where nothing is to be drawn, wait for it."""
        if self._backend.idle:
            self._todo.get()()
        while not self._todo.empty():
            self._todo.get()()

    def _broke(self, number: int, error: Exception) -> None:
        self._send({"broke": number, **error_fields(error)})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            with self._writing:
                self._sink.write(line(message))
                self._sink.flush()
        except OSError:  # nobody reads any more
            os._exit(0)

    # The reader's thread

    def _listen(self) -> None:
        """Ends the process when there is nobody to listen to, or no sense in what is heard."""
        try:
            while data := self._source.readline(LONGEST_LINE):
                self._hear(parsed(data))
        finally:
            os._exit(0)

    def _hear(self, message: dict[str, Any]) -> None:
        if "ask" in message:
            self._ask(question(message))
        elif "cancel" in message:
            self._todo.put(lambda: self._backend.cancel(message["cancel"]))
        else:
            self._loads.put(message)

    def _ask(self, asked: Question) -> None:
        def line_up() -> None:
            try:
                add()
            except EngineFailed as error:
                self._broke(asked.number, error)

        try:
            add = self._backend.asked(asked)
        except RlhfError as error:
            self._broke(asked.number, error)
        else:
            self._todo.put(line_up)

    # The loader's thread: one change after the other, each whole before the next is begun

    def _load(self) -> None:
        while True:
            message = self._loads.get()
            number = message.get("ready", message.get("drop"))
            try:
                self._change(message)
            except RlhfError as error:
                self._send({"failed": number, **error_fields(error)})
            except Exception as error:
                # A damaged file can fail in any way; whoever wanted it is told, the rest goes on.
                why = f"the policy cannot be loaded ({type(error).__name__})"
                self._send({"failed": number, "kind": "PolicyError", "text": why})
            else:
                self._send({"done": number})

    def _change(self, message: dict[str, Any]) -> None:
        if "drop" in message:
            self._in_turn(lambda: self._backend.drop(message["label"]))
        else:
            self._in_turn(self._backend.load(policy_of(message)))

    def _in_turn(self, work: Callable[[], None]) -> None:
        """Have the main thread do it between two tokens, and wait."""
        done: Future[None] = Future()

        def do() -> None:
            try:
                work()
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._todo.put(do)
        done.result()


def make_backend(start: dict[str, Any]) -> Backend:
    """What the server wants to have drawn with."""
    import torch

    from rlhf.models import ModelSettings

    model = ModelSettings(**start["model"])
    if start["engine"] == "openvino":
        from rlhf.serving.engines.openvino import OneModel

        return OneModel(model, start["file"], start)
    from rlhf.serving.engines.residents import Residents

    if start["threads"] is not None:
        torch.set_num_threads(start["threads"])
    return Residents(model, start["batch_size"], start["cache_gb"])


def main() -> None:
    # A service manager tells the whole group to end: the server first lets answers come to theirs.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(_NICENESS)
    warnings.simplefilter("ignore")  # of libraries, to users who can't mend them
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    Worker(sys.stdin.buffer, sink).run(make_backend)


if __name__ == "__main__":
    main()
