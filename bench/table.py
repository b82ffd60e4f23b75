"""What every benchmark writes: a table for people, `runs/bench/<name>.json` for scripts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from rlhf.files import write_json


@dataclass(frozen=True)
class Result:
    """One measured case; `ratio` says how many times better than the peer this project is."""

    case: str
    metric: Literal["speed", "memory", "size", "ttft_p95", "quality"]
    unit: str
    ours: float
    peer: float | None
    peer_name: str | None
    better: Literal["higher", "lower"]

    @property
    def ratio(self) -> float | None:
        """Above 1 is ahead; None where no peer does the work."""
        if self.peer is None:
            return None
        return self.ours / self.peer if self.better == "higher" else self.peer / self.ours


def publish(name: str, results: list[Result]) -> None:
    """Print and write the results."""
    table = Table("case", "metric", "ours", "peer", "ratio", title=name)
    for r in results:
        peer = "–" if r.peer is None else f"{_shown(r.peer)} ({r.peer_name})"
        ratio = "–" if r.ratio is None else f"{r.ratio:.2f}"
        table.add_row(r.case, f"{r.metric}, {r.unit}", _shown(r.ours), peer, ratio)
    Console().print(table)
    rows = [{**asdict(r), "ratio": r.ratio} for r in results]
    write_json(Path("runs") / "bench" / f"{name}.json", rows)


def _shown(value: float) -> str:
    """Three digits tell of a small number as much as of a large one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
