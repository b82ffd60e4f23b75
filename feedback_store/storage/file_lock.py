"""One holder at a time among processes, roughly in the order that they came.

Polling, as most lock libraries do, hands a contended lock to whoever looks first: with eight
processes some wait for tens of turns. Here the kernel wakes the next in line. Two files make the
line: one is the lock, and only the holder of the other may wait for it, so that who has just
released the lock can't take it again past somebody who waits.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

try:
    import fcntl
except ImportError:  # Windows: polled, correct but less fair
    fcntl = None  # type: ignore[assignment]


class LockTimeout(Exception):
    """Somebody else held the lock all the time."""


class ProcessLock:
    """The lock behind the file `path`; another process may take it with `filelock.FileLock`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._line = Path(f"{path}.next")

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Hold it in the block; `LockTimeout` where others keep it for longer than `seconds`."""
        if fcntl is None:
            with FileLock(self.path, timeout=seconds, poll_interval=0.002, thread_local=False):
                yield
            return
        deadline = time.monotonic() + seconds
        line = _locked(self._line, deadline)
        try:
            lock = _locked(self.path, deadline)
        finally:
            _release(line)
        try:
            yield
        finally:
            _release(lock)


def _locked(path: Path, deadline: float) -> int:
    """A descriptor that holds the file; opened anew each time, so that forks share no lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _at_once(descriptor):
            _in_line(descriptor, deadline)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _release(descriptor: int) -> None:
    # Closing alone would leave the lock with a child that was forked meanwhile.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_line(descriptor: int, deadline: float) -> None:
    """Stand in the kernel's line, in a thread of its own: flock(2) takes no time limit."""
    # The copy stands for the same lock. Who closes last gives it back, so that a lock which comes
    # after the deadline stays with nobody.
    copy = os.dup(descriptor)
    done = threading.Event()
    failures: list[OSError] = []

    def stand() -> None:
        try:
            fcntl.flock(copy, fcntl.LOCK_EX)
        except OSError as error:
            failures.append(error)
        finally:
            os.close(copy)
            done.set()

    try:
        threading.Thread(target=stand, daemon=True, name="waits for a file lock").start()
    except RuntimeError:  # while the interpreter exits no thread starts any more
        os.close(copy)
        _poll(descriptor, deadline)
        return
    if not done.wait(max(0.0, deadline - time.monotonic())):
        raise LockTimeout
    if failures:
        raise failures[0]


def _poll(descriptor: int, deadline: float) -> None:
    while not _at_once(descriptor):
        if time.monotonic() > deadline:
            raise LockTimeout
        time.sleep(0.002)
