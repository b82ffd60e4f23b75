"""What every step of a cycle stands on, and how it tells what it did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from feedback_store import Store
from rlhf.cycle_settings import LoopConfig
from rlhf.data.records import Record
from rlhf.errors import PolicyError
from rlhf.journal import Journal
from rlhf.policies import Policy
from rlhf.progress import console


@dataclass(frozen=True)
class Cycle:
    """One turn of the loop and what it stands on."""

    config: LoopConfig
    base: Path
    store: Store
    journal: Journal
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    data: str
    """Hash of the dialogue files."""


def version(policy: Policy) -> str:
    """The policy's id; raises `PolicyError` for a bare base model."""
    if policy.id is None:
        raise PolicyError("a bare base model has no version; train a policy from it first")
    return policy.id


def say(step: str, what: str, kept: bool = False) -> None:
    """One line a step; `kept` when its output was there already."""
    mark = "[dim]kept[/dim]" if kept else "[green]done[/green]"
    console.print(f"{mark} {step}: {what}", soft_wrap=True)
