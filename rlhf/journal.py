"""What a cycle cannot compute again: who was champion when it began, how far votes were read.

Everything else is found by the hash of its inputs. A fact once written stays, so a cycle that is
run again after a crash stands on the same ground as before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.files import write_json


@dataclass(frozen=True)
class Journal:
    """The facts of one cycle, in a file of the loop's run folder."""

    folder: Path
    number: int

    @property
    def path(self) -> Path:
        """`cycle-0001.json`"""
        return self.folder / f"cycle-{self.number:04d}.json"

    def facts(self) -> dict[str, Any]:
        """What is known so far."""
        if not self.path.exists():
            return {}
        known: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return known

    def remember(self, **facts: Any) -> dict[str, Any]:
        """Write what is not known yet; returns all that is."""
        known = self.facts()
        missing = {key: value for key, value in facts.items() if key not in known}
        if missing:
            known = {**known, **missing}
            write_json(self.path, known)
        return known

    @property
    def done(self) -> bool:
        """Whether the cycle was closed."""
        return bool(self.facts().get("done", False))

    @property
    def previous(self) -> Journal | None:
        """The cycle before."""
        return Journal(self.folder, self.number - 1) if self.number > 1 else None


def open_cycles(folder: Path, last: int | None) -> Iterator[Journal]:
    """Journals of cycles that are still to do, up to number `last`, or without end."""
    number = 1
    while last is None or number <= last:
        journal = Journal(folder, number)
        if not journal.done:
            yield journal
        number += 1
