"""One sandbox's processes, seen from outside: started, asked, stopped in between, killed."""

import json
import os
import platform
import secrets
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from rewards.errors import RewardError
from rewards.running.executor import START_TIMEOUT_S, Columns
from rewards.running.signature import to_json
from rewards.sandbox.calls import MACHINES
from rewards.sandbox.channel import Channel, Lost
from rewards.sandbox.limits import Limits
from rewards.sandbox.reply import largest, read_answer

# All that a sandbox sees of the environment, besides what `_environment` sets itself.
_PASSED_ON = ("LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS")
_END_TIMEOUT_MS = 10_000  # to give back the memory of what was killed


class Confined:
    """A guard and a reward's process, from the walls' being up to their end."""

    def __init__(self, name: str, limits: Limits) -> None:
        _check_machine(name)
        command = [sys.executable, "-P", "-m", "rewards.sandbox.child", limits.model_dump_json()]
        self._channel = Channel(command, _environment())
        self._process: int | None = None
        self.takes: Any = None  # the columns that the reward says it takes; None for all
        # Both lines come from before any code of the stranger's has run.
        number, refused = self._told("pid"), self._told("ready")
        if refused:
            self.close()
            raise RewardError(f"reward {name!r} can't be sandboxed: {refused} (docs/rewards.md)")
        self._process = os.pidfd_open(number)

    def _told(self, key: str) -> Any:
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            return json.loads(self._channel.receive(deadline, largest(1)))[key]
        except TimeoutError:
            raise Lost(f"was not ready after {START_TIMEOUT_S:g} s") from None

    def ask(self, question: dict[str, Any], timeout_s: float, at_most: int) -> dict[str, Any]:
        """Send a question and return its answer, the process running only in between.

        Raises Lost, and TimeoutError; the process is of no use after either.
        """
        wanted = secrets.token_hex(8)
        line = to_json({**question, "id": wanted}).encode()
        deadline = time.monotonic() + timeout_s
        self._signal(signal.SIGCONT)
        self._channel.send(line, deadline)
        answer = read_answer(self._channel.receive(deadline, at_most), wanted)
        self._signal(signal.SIGSTOP)
        if not self._channel.quiet():
            raise Lost("it said more than its answer")
        return answer

    def chosen(self, columns: Columns) -> Columns:
        """The columns that the reward takes."""
        takes = self.takes
        if not isinstance(takes, list):
            return columns
        return {name: column for name, column in columns.items() if name in takes}

    def close(self) -> None:
        """End everything in the sandbox, and wait for it."""
        self._channel.close()
        if self._process is not None:
            end = select.poll()
            end.register(self._process, select.POLLIN)
            end.poll(_END_TIMEOUT_MS)
            os.close(self._process)
        self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):  # its end is told by its pipe
            signal.pidfd_send_signal(self._process, number)


def _environment() -> dict[str, str]:
    """Nothing of ours but the language and where Python's packages are."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    return {
        **kept,
        "PYTHONPATH": paths,
        "PYTHONUTF8": "1",
        "HOME": "/scratch",
        "TMPDIR": "/scratch",
    }


def _check_machine(name: str) -> None:
    system = sys.platform if sys.platform != "linux" else platform.machine()
    if system not in MACHINES:
        raise RewardError(
            f"reward {name!r} can't be sandboxed: that needs Linux on {' or '.join(MACHINES)}, and"
            f" this is {system}; run it there, for example in a container"
        )
