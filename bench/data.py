"""Preparing data: rows a second, and the most memory, from a JSONL file to the published folder.

The rows are variations on real Chinese dialogues of some 230 characters, none of them another's
twin. `headline`: everything but MinHash, 1,000,000 rows. `minhash`: with it, 100,000. `growth`: how
many times the memory of 100,000 rows the headline's million takes. Nobody else goes this whole way
(to cleaned, anonymised, thinned out, split and described), so there is no peer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from bench.table import Result, publish

DATA = Path(os.environ.get("RLHF_DATA", "../shared/data")) / "zh_medical.jsonl"
_MANY, _FEW = 1_000_000, 100_000


@dataclass(frozen=True)
class Prepared:
    """What a child found."""

    rows: int
    seconds: float
    cpu_seconds: float
    gigabytes: float
    """Of the process that leads, with its mapped files."""
    worker_gigabytes: float
    """Of the largest worker."""
    kept: int


def main(argv: Sequence[str] | None = None) -> None:
    """All cases, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.data", description=__doc__)
    parser.add_argument("--source", type=Path, default=DATA, help="dialogues to vary")
    parser.add_argument("--rows", type=int, default=_MANY)
    parser.add_argument("--few", type=int, default=_FEW)
    parser.add_argument("--child", nargs=3, metavar="X", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.child:
        print(json.dumps(asdict(_prepare(Path(given.child[0]), given.child[1:]))))
        return
    many = _measure(given.source, given.rows, near=False)
    few = _measure(given.source, given.few, near=False)
    near = _measure(given.source, given.few, near=True)
    growth = many.gigabytes / few.gigabytes
    publish(
        "data",
        [
            Result("headline", "speed", "rows/s", _speed(many), None, None, "higher"),
            Result("headline", "memory", "GB", _memory(many), None, None, "lower"),
            Result("minhash", "speed", "rows/s", _speed(near), None, None, "higher"),
            Result("minhash", "memory", "GB", _memory(near), None, None, "lower"),
            Result("growth", "memory", "times", growth, None, None, "lower"),
        ],
    )


def _speed(found: Prepared) -> float:
    return found.rows / found.seconds


def _memory(found: Prepared) -> float:
    return found.gigabytes + 2 * found.worker_gigabytes


# What the parent needs is not imported in the child: torch alone would be half of its memory.
def _measure(source: Path, rows: int, near: bool) -> Prepared:
    from bench.children import last_line

    with tempfile.TemporaryDirectory(dir=".") as name:
        path = Path(name).absolute() / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(varied(source, rows))
        command = [sys.executable, "-m", "bench.data", "--child", name, str(near).lower(), "2"]
        found = Prepared(**last_line("data", "prepare", command))
    print(
        f"{rows:,} rows{' with MinHash' if near else ''}: {found.seconds:.1f} s "
        f"({_speed(found):,.0f} rows/s, {found.cpu_seconds / rows * 1e6:.0f} µs of CPU a row), "
        f"{found.gigabytes:.2f} GB and {found.worker_gigabytes:.2f} GB a worker, "
        f"{found.kept:,} kept"
    )
    return found


def varied(source: Path, count: int, seed: int = 0) -> Iterator[str]:
    """Rows whose clauses come from all over the source: alike in kind, and no two the same."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    draw = random.Random(seed)
    asked, said = ([re.split("(?<=[，。？])", r[k]) for r in rows] for k in ("context", "response"))
    clauses = [c for answer in said for c in answer[1:] if c]
    for _ in range(count):
        at = draw.randrange(len(rows))
        context, response = list(asked[at]), list(said[at])
        for place in range(1, len(response), 2):
            response[place] = draw.choice(clauses)
        context.insert(draw.randrange(1, len(context) + 1), draw.choice(clauses))
        row = {"context": "".join(context), "response": "".join(response)}
        yield json.dumps(row | {"intent": rows[at]["intent"]}, ensure_ascii=False) + "\n"


def _prepare(folder: Path, given: Sequence[str]) -> Prepared:
    from bench.memory import resident_gigabytes
    from rlhf.prepare.pipeline import prepare
    from rlhf.prepare.settings import PrepareConfig

    config = PrepareConfig.model_validate(
        {
            "sources": [str(folder / "rows.jsonl")],
            "twins": {"near": given[0] == "true"},
            "workers": int(given[1]),
        }
    )
    largest = [0.0]

    def look(*_: Any, **__: Any) -> None:
        held = (resident_gigabytes(child.pid or "self") for child in active_children())
        largest.append(max(held, default=0.0))

    began = time.perf_counter()
    made = prepare(config, Path.cwd(), folder / "out", look)
    seconds = time.perf_counter() - began
    own, workers = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    rows = made.report["rows"]
    return Prepared(
        rows=rows["read"],
        seconds=seconds,
        cpu_seconds=own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime,
        gigabytes=resident_gigabytes(),
        worker_gigabytes=max(largest),
        kept=rows["train"] + rows["held_out"],
    )


if __name__ == "__main__":
    main()
