"""Snapshots of large stores: the time and the most memory of a build in a process of its own.

`headline`: 1,000,000 live votes on 300,000 interactions, in SQLite. `twice`: how many times longer
twice the votes on twice the interactions take. The clock starts with the store open and stops when
the snapshot is on the disk, checked and recorded. Nobody else builds such a thing, so there is no
peer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.table import Result, publish

VOTES, INTERACTIONS = 1_000_000, 300_000
_CASES = ("headline", "twice")


@dataclass(frozen=True)
class Built:
    """What a child found."""

    seconds: float
    gigabytes: float
    rows: int


def main(argv: Sequence[str] | None = None) -> None:
    """Both cases, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.snapshot", description=__doc__)
    parser.add_argument("--votes", type=int, default=VOTES)
    parser.add_argument("--interactions", type=int, default=INTERACTIONS)
    parser.add_argument("--cases", nargs="+", choices=_CASES, default=_CASES)
    parser.add_argument("--child", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.votes < 1 or given.interactions < 3:
        parser.error("at least 1 vote and 3 interactions are needed")
    if given.child:
        print(json.dumps(asdict(_build(given.child))))
        return
    once = _measure(given.votes, given.interactions)
    results = [
        Result("headline", "speed", "s", once.seconds, None, None, "lower"),
        Result("headline", "memory", "GB", once.gigabytes, None, None, "lower"),
    ]
    if "twice" in given.cases:
        twice = _measure(2 * given.votes, 2 * given.interactions)
        ratio = twice.seconds / once.seconds
        results += [
            Result("twice", "speed", "times as long", ratio, None, None, "lower"),
            Result("twice", "memory", "GB", twice.gigabytes, None, None, "lower"),
        ]
    publish("snapshot", results)


# What the parent needs is not imported in the child: torch alone would be half of its memory.
def _measure(votes: int, interactions: int) -> Built:
    from bench.children import last_line
    from bench.snapshot_store import fill

    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).absolute()
        fill(folder / "store.db", votes, interactions)
        command = [sys.executable, "-m", "bench.snapshot", "--child", str(folder)]
        built = Built(**last_line("snapshot", "build", command))
    print(
        f"{votes:,} votes: {built.rows:,} rows in {built.seconds:.1f} s, {built.gigabytes:.2f} GB"
    )
    return built


def _build(folder: Path) -> Built:
    from bench.memory import resident_gigabytes
    from feedback_store import SnapshotRules, Store, build_snapshot

    with Store.open(folder / "store.db") as store:
        began = time.perf_counter()
        manifest = build_snapshot(store, folder / "snapshots", SnapshotRules())
        seconds = time.perf_counter() - began
    rows = sum(entry.rows for entry in manifest.files.values())
    return Built(seconds, resident_gigabytes(), rows)


if __name__ == "__main__":
    main()
