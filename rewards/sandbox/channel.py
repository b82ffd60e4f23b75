"""A child process and the two pipes to it: lines of bounded length, within a bounded time."""

import os
import selectors
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress

_CHUNK = 65536


class Lost(Exception):
    """The child died or said too much; it is to be closed."""


class Channel:
    """Sends and receives lines; every wait ends, and no answer fills the memory."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # so that all of it can be killed at once
        )
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._rest = b""  # received after the last line's end
        self._end = weakref.finalize(self, _kill, self._process)

    def send(self, line: bytes, deadline: float) -> None:
        """Write one line before the time is up. Raises Lost and TimeoutError."""
        unsent = memoryview(line + b"\n")
        while unsent:
            _wait(self._in, selectors.EVENT_WRITE, deadline)
            try:
                unsent = unsent[os.write(self._in, unsent[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise Lost(self._death()) from None

    def receive(self, deadline: float, at_most: int) -> bytes:
        """Read one line before the time is up. Raises Lost and TimeoutError."""
        received = bytearray(self._rest)
        while b"\n" not in received[-_CHUNK:]:
            if len(received) > at_most:
                raise Lost(f"its answer is longer than {at_most} bytes")
            _wait(self._out, selectors.EVENT_READ, deadline)
            with suppress(BlockingIOError):
                chunk = os.read(self._out, _CHUNK)
                if not chunk:
                    raise Lost(self._death())
                received += chunk
        line, _, self._rest = bytes(received).partition(b"\n")
        return line

    def quiet(self) -> bool:
        """Whether the child has said nothing but the lines that were read."""
        return not self._rest

    def close(self) -> None:
        """Kill what was started, and wait for it."""
        self._end()

    def _death(self) -> str:
        """Say how the child ended; one that only closed its pipe is ended here."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        return (
            f"its process was killed by signal {code - 128}"
            if code > 128
            else (f"its process died with exit code {code}")
        )


def _wait(stream: int, event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
