"""Durable writes: the store against bare SQLite with the same guarantees, on the same disk.

Bare SQLite (WAL, synchronous=FULL, one row a commit) is the ceiling: no schema is validated, no
text redacted, no revision kept.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.table import Result, publish
from feedback_store import Feedback, Interaction, Message, Store

SINGLE, BATCHES, BATCH = 500, 20, 200


def _interaction(n: int) -> Interaction:
    return Interaction(
        id=f"i{n}",
        messages=(Message(role="user", content=f"Where is my parcel, number {n}?"),),
        response="It left our house this morning and reaches you tomorrow.",
    )


def _vote(n: int) -> Feedback:
    return Feedback(id=f"f{n}", interaction=f"i{n}", voter="v1", kind="thumb", value=1.0)


def _rate(work: Callable[[], None], rows: int) -> float:
    began = time.perf_counter()
    work()
    return rows / (time.perf_counter() - began)


def _ours(folder: Path) -> tuple[float, float]:
    total = SINGLE + BATCHES * BATCH
    with Store.open(folder / "ours.db") as store:
        store.append(interactions=[_interaction(n) for n in range(total)])

        def single() -> None:
            for n in range(SINGLE):
                store.append(feedback=[_vote(n)])

        def batches() -> None:
            for start in range(SINGLE, total, BATCH):
                store.append(feedback=[_vote(n) for n in range(start, start + BATCH)])

        return _rate(single, SINGLE), _rate(batches, BATCHES * BATCH)


def _bare(folder: Path) -> tuple[float, float]:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE votes (seq INTEGER PRIMARY KEY, body TEXT)")
    bodies = [json.dumps(_vote(n).model_dump(mode="json")) for n in range(SINGLE + BATCHES * BATCH)]

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


def main() -> None:
    """Both on one temporary folder, bare SQLite first."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        peer, ours = _bare(Path(name)), _ours(Path(name))
    cases = ("one vote a commit", f"batches of {BATCH}")
    publish(
        "votes",
        [
            Result(case, "speed", "votes/s", mine, theirs, "bare SQLite", "higher")
            for case, mine, theirs in zip(cases, ours, peer, strict=True)
        ],
    )


if __name__ == "__main__":
    main()
