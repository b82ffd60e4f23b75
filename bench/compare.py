"""Cases of a training benchmark: run each side in its child, check that both did the same work.

The same work: the mean training loss over the epoch, and, where all rows make one step, the norm of
its gradient. In float32 they must agree to 2 %, or the benchmark ends. In bfloat16, and because
both group rows by length in orders of their own, they are only told.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bases import Base, prepare
from bench.children import Job, Measured, be_child, run_child
from bench.mixes import Mix, RowsOf
from bench.sides import BATCH, Load, Side
from bench.table import Result, publish
from rlhf.models import Dtype, load_base, quick_dtype
from rlhf.progress import console

OURS = "ours"
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Case:
    """What is trained on what, and against whom; the fastest of the peers counts."""

    name: str
    peers: tuple[str, ...]
    ours: str = OURS
    mix: Mix = "short"
    rows: int = 64
    base: Base = "135M"
    checkpointing: bool = False
    trains: bool = True
    """Without it: how far bfloat16 is from float32, by the reference's log-probabilities."""


@dataclass(frozen=True)
class Bench:
    """A benchmark by its parts."""

    name: str
    unit: str
    rows_of: RowsOf
    sides: Mapping[str, Side]
    cases: Sequence[Case]
    load: Load = load_base


def main(bench: Bench, argv: Sequence[str] | None = None) -> None:
    """The command line of `python -m bench.<name>`."""
    parser = _parser(bench)
    options = parser.parse_args(argv)
    if options.child is not None:
        job = Job(**json.loads(options.child))
        be_child(job, bench.sides[job.side], bench.rows_of, bench.load)
        return
    chosen = options.cases or _names(bench)
    cases = [case for case in bench.cases if case.name in chosen]
    with tempfile.TemporaryDirectory() as folder:
        results = [r for case in cases for r in _results(bench, case, options, Path(folder))]
    publish(bench.name, results)


def _names(bench: Bench) -> list[str]:
    return [case.name for case in bench.cases]


def _parser(bench: Bench) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{bench.name}",
        description=f"Train with TRL and with this project, side by side: {bench.name}.",
        epilog=f"example: python -m bench.{bench.name} --cases headline --rows 16",
    )
    parser.add_argument(
        "--cases", nargs="+", choices=_names(bench), metavar="CASE", help="; ".join(_names(bench))
    )
    parser.add_argument("--rows", type=int, help="at most so many rows a case, for a quick look")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default=quick_dtype(), help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def _results(bench: Bench, case: Case, options: argparse.Namespace, folder: Path) -> list[Result]:
    base_model = options.model or prepare(case.base, folder)
    rows = min(case.rows, options.rows or case.rows)

    def child(side: str, dtype: Dtype) -> Measured:
        _tell(f"{bench.name}, {case.name}: {side}, {dtype}")
        job = Job(side, case.mix, rows, base_model, dtype, case.checkpointing, case.trains)
        found = run_child(bench.name, job)
        _tell(f"    {found.seconds:.1f} s, {found.gigabytes:.2f} GB")
        return found

    if not case.trains:
        peer = case.peers[0]
        exact = child(peer, "float32")
        return [_rounding(case, exact, child(case.ours, "bfloat16"), child(peer, "bfloat16"))]
    mine = child(case.ours, options.dtype)
    peers = {side: child(side, options.dtype) for side in case.peers}
    for side, theirs in peers.items():
        _check(side, mine, theirs, options.dtype, rows)
    return _speed_and_memory(bench, case, rows, mine, peers)


def _check(side: str, mine: Measured, theirs: Measured, dtype: Dtype, rows: int) -> None:
    """Tell how far the two are apart; ends the benchmark when they did not do the same work."""
    both = {"mean loss": (mine.loss, theirs.loss)}
    if rows <= BATCH:
        both["gradient"] = (mine.grad_norm, theirs.grad_norm)
    for name, (ours, peers) in both.items():
        apart = abs(ours / peers - 1)
        told = f"{name} {ours:.5g}, of {side} {peers:.5g}: {apart:.2%} apart"
        _tell(f"    {told}")
        if not math.isfinite(apart) or (dtype == "float32" and apart > _TOLERANCE):
            raise SystemExit(f"not the same work: {told}")


def _speed_and_memory(
    bench: Bench, case: Case, rows: int, mine: Measured, peers: Mapping[str, Measured]
) -> list[Result]:
    """Against the fastest peer under the case's name, and against each other one beside it."""
    fastest, *others = sorted(peers, key=lambda side: peers[side].seconds)
    results = _against(bench, case.name, rows, mine, fastest, peers[fastest])
    for peer in others:
        results += _against(bench, f"{case.name}, {peer}", rows, mine, peer, peers[peer])
    return results


def _against(
    bench: Bench, case: str, rows: int, mine: Measured, peer: str, theirs: Measured
) -> list[Result]:
    def speed(case: str, unit: str, done: int) -> Result:
        rates = done / mine.seconds, done / theirs.seconds
        return Result(case, "speed", unit, *rates, peer, "higher")

    sizes = mine.gigabytes, theirs.gigabytes
    results = [
        speed(case, bench.unit, rows),
        Result(case, "memory", "GB", *sizes, peer, "lower"),
    ]
    if mine.tokens:
        results.append(speed(f"{case}, real tokens", "tokens/s", mine.tokens))
    return results


def _rounding(case: Case, exact: Measured, mine: Measured, theirs: Measured) -> Result:
    """Mean distance of the answers' log-probabilities, each summed over its tokens."""

    def error(found: Measured) -> float:
        pairs = zip(found.reference, exact.reference, strict=True)
        return sum(abs(rounded - true) for rounded, true in pairs) / len(exact.reference)

    peer = case.peers[0]
    return Result(case.name, "quality", "nats", error(mine), error(theirs), peer, "lower")


def _tell(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
