"""Experiment tracking: wandb offline unless there is a key, TensorBoard, or none."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rlhf.errors import UsageError

Tracking = Literal["wandb", "tensorboard", "none"]


def wandb_mode() -> str:
    """`WANDB_MODE` where it is set; else online with a key and offline without one."""
    if mode := os.environ.get("WANDB_MODE"):
        return "offline" if mode == "dryrun" else mode
    return "online" if os.environ.get("WANDB_API_KEY") or _has_netrc_key() else "offline"


def project_name() -> str:
    """Under which a tracker keeps the runs."""
    return os.environ.get("WANDB_PROJECT", "rlhf-loop")


def _has_netrc_key() -> bool:
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


@contextmanager
def tracked(kind: Tracking, folder: Path, group: str) -> Iterator[list[str]]:
    """Set the tracker up for one run in its folder; yields transformers' `report_to`."""
    if kind == "none":
        yield []
        return
    if find_spec(kind) is None:
        raise UsageError(f"tracking: {kind} is not installed; `pip install {kind}` or `none`")
    if kind == "tensorboard":
        with _environment({"TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard")}):
            yield ["tensorboard"]
        return
    settings = {
        "WANDB_MODE": wandb_mode().replace("offline", "dryrun"),  # as in `rlhf.cli`
        "WANDB_DIR": str(folder),
        "WANDB_PROJECT": project_name(),
        "WANDB_RUN_GROUP": group,
        "WANDB_NAME": folder.name,
        "WANDB_SILENT": "true",
        "WANDB_CONSOLE": "off",
        "WANDB_DISABLE_CODE": "true",
        "WANDB_LOG_MODEL": "false",
    }
    with _environment(settings):
        import wandb

        try:
            yield ["wandb"]
        finally:
            wandb.finish()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
