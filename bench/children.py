"""One side of one case in a Python of its own: nothing is warm, and its peak memory is its own."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.memory import peak_gigabytes
from bench.mixes import Mix, RowsOf
from bench.sides import Load, Setup, Side
from rlhf.models import Dtype, ModelSettings, load_tokenizer

_ROOT = Path(__file__).parents[1]
_ERROR_LINES = 12


@dataclass(frozen=True)
class Job:
    """What a child is to do."""

    side: str
    mix: Mix
    rows: int
    base_model: str
    dtype: Dtype
    checkpointing: bool = False
    train: bool = True
    """Without it the trainer is built and its reference read."""


@dataclass(frozen=True)
class Measured:
    """What a child found."""

    seconds: float
    """From building the trainer to the end of `train()`: imports and loading are left out."""
    gigabytes: float
    """The most memory that the process held."""
    loss: float
    """The mean over the epoch's steps."""
    grad_norm: float
    """Of the first step's gradient."""
    tokens: int
    """Of prompts and answers, each once, where the stage keeps them in one column."""
    reference: list[float]
    """log p of each answer by the reference, where it was computed ahead."""


def run_child(bench: str, job: Job) -> Measured:
    """In a fresh process. Ends the benchmark with the child's last lines when it fails."""
    command = [sys.executable, "-m", f"bench.{bench}", "--child", json.dumps(asdict(job))]
    return Measured(**last_line(bench, job.side, command))


def last_line(bench: str, side: str, command: Sequence[str | Path]) -> dict[str, Any]:
    """What a side prints as its last line, run from the repository's root."""
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-_ERROR_LINES:])
        raise SystemExit(f"{bench}: {side!r} ended with {done.returncode}\n{last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def be_child(job: Job, side: Side, rows_of: RowsOf, load: Load) -> None:
    """Do the job and print what was found as the last line."""
    model = ModelSettings(base_model=job.base_model, dtype=job.dtype)
    rows, base, tokenizer = rows_of(job.mix, job.rows), load(model), load_tokenizer(model)
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(model, base, tokenizer, rows, job.checkpointing, Path(folder))
        found = _measure(job, side, setup)
    print(json.dumps(asdict(found)))


def _measure(job: Job, side: Side, setup: Setup) -> Measured:
    began = time.perf_counter()
    trainer = side(setup)
    loss = float(trainer.train().training_loss) if job.train else math.nan
    seconds = time.perf_counter() - began
    if len(trainer.train_dataset) != job.rows:
        raise RuntimeError(f"{len(trainer.train_dataset)} of {job.rows} rows were trained on")
    norms = [log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log]
    return Measured(
        seconds=seconds,
        gigabytes=peak_gigabytes(),
        loss=loss,
        grad_norm=float(norms[0]) if norms else math.nan,
        tokens=sum(map(len, _column(trainer.train_dataset, "input_ids"))),
        reference=[
            float(value)
            for name in ("ref_chosen_logps", "ref_rejected_logps")
            for value in _column(trainer.train_dataset, name)
        ],
    )


def _column(dataset: Any, name: str) -> list[Any]:
    return list(dataset[name]) if name in dataset.column_names else []
