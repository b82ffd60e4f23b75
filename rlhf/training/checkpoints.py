"""Checkpoints that survive `kill -9`.

transformers writes a checkpoint in place and unsynced, and trusts the largest number. Here a
checkpoint counts only with its marker: the sha256 of its files, written after they reached the
disk. What has no valid marker is removed before a run goes on.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlhf.files import sha256_file, sync_tree, write_json

_MARKER = "complete.json"


class MarkCheckpoints(TrainerCallback):
    """Writes the marker after each save."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Flush the files, then say that they are all there."""
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        sync_tree(folder)
        complete(folder, state.global_step)


def complete(folder: Path, step: int) -> None:
    """Write the marker of a checkpoint whose files are all there."""
    files = {
        str(p.relative_to(folder)): sha256_file(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != _MARKER
    }
    write_json(folder / _MARKER, {"step": step, "files": files})


def last_complete(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; broken ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of)
    whole = []
    for path in found:
        if _is_complete(path):
            whole.append(path)
        else:
            shutil.rmtree(path)
    return whole[-1] if whole else None


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint was written after."""
    return int(checkpoint.name.rpartition("-")[2])


def stopped_early(checkpoint: Path, patience: int) -> bool:
    """Whether training had ended with this checkpoint because the loss no longer fell.

    transformers forgets that it was stopping when a run is resumed, and would train on.
    """
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    saved = state.get("stateful_callbacks", {}).get("EarlyStoppingCallback", {})
    count = saved.get("attributes", {}).get("early_stopping_patience_counter", 0)
    return int(count) >= patience


def _is_complete(path: Path) -> bool:
    marker = path / _MARKER
    if not marker.exists():
        return False
    files: dict[str, str] = json.loads(marker.read_text(encoding="utf-8"))["files"]
    return all(
        (path / name).exists() and sha256_file(path / name) == digest
        for name, digest in files.items()
    )
