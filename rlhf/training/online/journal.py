"""What a run tells round by round: `metrics.jsonl`, `samples.jsonl`, and the tracker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from accelerate import Accelerator

from rlhf.files import write_jsonl
from rlhf.runs import Run
from rlhf.tracking import project_name

_SAMPLES = "samples.jsonl"


class Journal:
    """The rounds so far, in memory and in the run's folder."""

    def __init__(self, run: Run, accelerator: Accelerator, config: Mapping[str, Any]) -> None:
        self.run = run
        self.accelerator = accelerator
        self.history: list[dict[str, float]] = []
        accelerator.init_trackers(project_name(), config=_plain(config))

    def back_to(self, update: int) -> None:
        """Forget what came after the round that a run goes on from."""
        self.history = [row for row in self.run.metrics() if row["step"] <= update]
        samples = [row for row in _lines(self.run) if row["update"] <= update]
        if self.accelerator.is_main_process:
            write_jsonl(self.run.folder / "metrics.jsonl", self.history)
            write_jsonl(self.run.folder / _SAMPLES, samples)

    def add(self, figures: Mapping[str, float], samples: Sequence[Mapping[str, Any]]) -> None:
        """Write a round down."""
        self.history.append(dict(figures))
        if self.accelerator.is_main_process:
            self._append("metrics.jsonl", [figures])
            self._append(_SAMPLES, samples)
        self.accelerator.log(dict(figures), step=int(figures["step"]))
        self._show(samples, int(figures["step"]))

    def keep(self) -> None:
        """Have what is told on disk before a checkpoint stands on it."""
        if self.accelerator.is_main_process:
            write_jsonl(self.run.folder / "metrics.jsonl", self.history)

    def close(self) -> None:
        """End the tracker's run."""
        self.accelerator.end_training()

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        with (self.run.folder / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def _show(self, samples: Sequence[Mapping[str, Any]], step: int) -> None:
        """Answers as a table, where the tracker knows tables."""
        for tracker in self.accelerator.trackers:
            if tracker.name == "wandb" and samples:
                columns = ["prompt", "answer", "total"]
                rows = [[row[name] for name in columns] for row in samples]
                tracker.log_table("samples", columns=columns, data=rows, step=step)


def _lines(run: Run) -> list[dict[str, Any]]:
    """The samples written down; a last line cut by a crash is left out."""
    path = run.folder / _SAMPLES
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """TensorBoard takes numbers and texts only."""
    return {k: v if isinstance(v, int | float | str) else str(v) for k, v in config.items()}
