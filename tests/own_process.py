"""Commands of `rlhf` in processes of their own, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

ROOT = Path(__file__).parent.parent


@contextmanager
def running(folder: Path, *command: str) -> Iterator[tuple[Path, Popen[bytes]]]:
    """A command of `rlhf` with its output in a file; stopped at the end as an operator would."""
    output = folder / f"{command[0]}.log"
    with output.open("wb") as file:
        process = Popen(
            [sys.executable, "-m", "rlhf.cli", *command],
            cwd=folder,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        yield output, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(what: str, ready: Callable[[], Any], seconds: float, *logs: Path) -> Any:
    """What `ready` gives, once it is something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := ready():
            return found
        time.sleep(0.05)
    told = "\n".join(log.read_text(errors="replace")[-2_000:] for log in logs)
    raise AssertionError(f"{what} in {seconds} s: no\n{told}")


def url_of(log: Path) -> str | None:
    """Where the service says that it listens."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "url" in said:
            return str(said["url"])
    return None
