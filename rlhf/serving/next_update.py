"""How many votes the next policy update still waits for, as far as the loop's run folder tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from feedback_store import Store


@dataclass(frozen=True)
class NextUpdate:
    """What a loop waits for."""

    loop: str
    """Its name."""
    cycle: int
    """The one that is being waited for, or worked at."""
    needed: int
    """Votes that a cycle needs (`min_votes`)."""
    votes: int
    """Those that came since the last cycle read the store; no more than needed are counted."""

    @property
    def missing(self) -> int:
        """Votes still to come."""
        return max(0, self.needed - self.votes)


def next_update(store: Store, runs: Path, project: str) -> NextUpdate | None:
    """Of the loop of this project that was worked on last; None where `runs` holds none."""
    found = [one for folder in runs.glob("loop-*") if (one := _loop(folder, project))]
    if not found:
        return None
    folder, settings = max(found, key=lambda one: _touched(one[0]))
    cycle, before = _waiting(folder)
    needed = int(settings.get("min_votes", 50))
    votes = store.votes_since(before, project=project, most=needed)
    return NextUpdate(str(settings.get("name", "loop")), cycle, needed, votes)


def _loop(folder: Path, project: str) -> tuple[Path, dict[str, Any]] | None:
    try:
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    mine = isinstance(settings, dict) and settings.get("project", "default") == project
    return (folder, settings) if mine else None


def _touched(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("*")), default=0.0)


def _waiting(folder: Path) -> tuple[int, int]:
    """The first cycle that isn't done, and how far the one before it read the votes."""
    number, before = 1, 0
    while True:
        try:
            facts = json.loads((folder / f"cycle-{number:04d}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return number, before
        if not facts.get("done"):
            return number, before
        number, before = number + 1, int(facts.get("watermark", before))
