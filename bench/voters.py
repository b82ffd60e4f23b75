"""Many voters at once: 8 processes of 25 threads, each voting and waiting for its acknowledgement.

    python -m bench.voters '{"sink": "store", "where": "votes.db", ...}'    one of the processes

A sink is what takes the votes: the store, or a bare database that validates, redacts and revises
nothing. Latencies run from the moment that a vote was due, so that a voter kept waiting by one
vote also shows it in the next (no coordinated omission).
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, cast

import numpy as np
from sqlalchemy import make_url

from feedback_store import Feedback, Store

INTERACTIONS = 5_000
_PRIME = 7_919  # spreads a voter's votes over all interactions before any comes twice


@dataclass(frozen=True)
class Crowd:
    """Who votes, where, and how often."""

    sink: Literal["store", "bare SQLite", "bare PostgreSQL"]
    where: str
    seconds: float
    processes: int = 8
    threads: int = 25
    interval: float = 0.0
    """Seconds between a voter's votes; 0: the next follows the acknowledgement."""
    crowd: int = 0
    """Tells crowds apart that vote in one store."""


@dataclass(frozen=True)
class Measured:
    """What the voters saw."""

    acknowledged: dict[str, int]
    """By voter: its votes 0 to n - 1 were acknowledged."""
    seconds: float
    """From the first vote to the last acknowledgement."""
    p50: float
    p99: float
    worst: float
    """Latencies in milliseconds."""

    @property
    def votes(self) -> int:
        """How many were acknowledged in all."""
        return sum(self.acknowledged.values())

    @property
    def rate(self) -> float:
        """Durable votes a second."""
        return self.votes / self.seconds


class Sink(Protocol):
    """Takes a vote; returns when it is durable."""

    def vote(self, voter: int, n: int) -> None:
        """The voter's n-th vote."""


def vote_of(voter: int, n: int) -> Feedback:
    """A thumb under an id that tells whose it is and which."""
    return Feedback(
        id=f"v{voter}-{n}",
        interaction=f"i{(n * _PRIME + voter * 31) % INTERACTIONS}",
        voter=f"voter-{voter}",
        kind="thumb",
        value=1.0 if n % 3 else -1.0,
    )


class _Store:
    def __init__(self, where: str, stack: ExitStack) -> None:
        self._store = stack.enter_context(Store.open(where))

    def vote(self, voter: int, n: int) -> None:
        self._store.append(feedback=[vote_of(voter, n)])


class _BareSqlite:
    """One connection a process, one row a commit; SQLite's own lock between the processes."""

    def __init__(self, where: str, stack: ExitStack) -> None:
        self._mutex = threading.Lock()
        self._connection = sqlite3.connect(
            where, timeout=60, isolation_level=None, check_same_thread=False
        )
        stack.callback(self._connection.close)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS votes (seq INTEGER PRIMARY KEY, body)")

    def vote(self, voter: int, n: int) -> None:
        body = json.dumps(vote_of(voter, n).model_dump(mode="json"))
        with self._mutex:
            self._connection.execute("INSERT INTO votes (body) VALUES (?)", (body,))


class _BarePostgres:
    """One connection a process, one row a commit."""

    def __init__(self, where: str, stack: ExitStack) -> None:
        import psycopg

        self._mutex = threading.Lock()
        plain = make_url(where).set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection = stack.enter_context(psycopg.connect(plain, autocommit=True))
        # One by one: statements sent together are one transaction, and end after the lock does.
        self._connection.execute("SELECT pg_advisory_lock(1)")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS votes (seq BIGSERIAL PRIMARY KEY, body TEXT)"
        )
        self._connection.execute("SELECT pg_advisory_unlock(1)")

    def vote(self, voter: int, n: int) -> None:
        body = json.dumps(vote_of(voter, n).model_dump(mode="json"))
        with self._mutex:
            self._connection.execute("INSERT INTO votes (body) VALUES (%s)", (body,))


_SINKS: dict[str, Callable[[str, ExitStack], Sink]] = {
    "store": _Store,
    "bare SQLite": _BareSqlite,
    "bare PostgreSQL": _BarePostgres,
}


def run(crowd: Crowd) -> Measured:
    """Let the crowd vote, all from the same moment on."""
    command = [sys.executable, "-m", "bench.voters", json.dumps(asdict(crowd))]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, str(process)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for process in range(crowd.processes)
        ]
        for child in children:
            assert child.stdout is not None
            if child.stdout.readline() != b"ready\n":
                raise SystemExit("a process of voters ended before its first vote; see above")
        start = time.time() + 0.5
        for child in children:
            assert child.stdin is not None
            child.stdin.write(f"{start}\n".encode())
            child.stdin.flush()
        said = [json.loads(child.communicate()[0]) for child in children]
    latencies = np.concatenate([np.frombuffer(bytes.fromhex(s["ms"]), np.float32) for s in said])
    p50, p99 = np.percentile(latencies, [50, 99])
    return Measured(
        acknowledged={voter: n for s in said for voter, n in s["acknowledged"].items()},
        seconds=max(s["end"] for s in said) - start,
        p50=float(p50),
        p99=float(p99),
        worst=float(latencies.max()),
    )


class _Voter(threading.Thread):
    def __init__(self, crowd: Crowd, sink: Sink, number: int, start: float) -> None:
        super().__init__()
        self.number, self.acknowledged, self.latencies = number, 0, array("f")
        self._crowd, self._sink, self._begin = crowd, sink, start

    def run(self) -> None:
        crowd = self._crowd
        people = crowd.processes * crowd.threads
        due = self._begin + crowd.interval * (self.number % people) / people
        end = self._begin + crowd.seconds
        while due < end:
            time.sleep(max(0.0, due - time.time()))
            self._sink.vote(self.number, self.acknowledged)
            now = time.time()
            self.acknowledged += 1
            self.latencies.append((now - due) * 1_000)
            due = due + crowd.interval if crowd.interval else now


def _process(crowd: Crowd, process: int) -> None:
    with ExitStack() as stack:
        sink = _SINKS[crowd.sink](crowd.where, stack)
        print("ready", flush=True)
        start = float(sys.stdin.readline())
        first = (crowd.crowd * crowd.processes + process) * crowd.threads
        numbers = range(first, first + crowd.threads)
        voters = [_Voter(crowd, sink, number, start) for number in numbers]
        for voter in voters:
            voter.start()
        for voter in voters:
            voter.join()
        end = time.time()
    latencies = b"".join(voter.latencies.tobytes() for voter in voters)
    acknowledged = {f"v{voter.number}": voter.acknowledged for voter in voters}
    print(json.dumps({"end": end, "acknowledged": acknowledged, "ms": latencies.hex()}))


if __name__ == "__main__":
    _process(Crowd(**cast("dict[str, object]", json.loads(sys.argv[1]))), int(sys.argv[2]))  # type: ignore[arg-type]
