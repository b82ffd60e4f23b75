"""The reference policy's log-probabilities: computed once, and kept on disk under their inputs.

The reference is the policy that a stage starts from, by the very weights that training will move,
before the first step: no second model is ever in memory, and it cannot be the bare base by accident
(LLaMA-Factory#8459).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlhf.errors import StepFailed
from rlhf.files import content_id, write_json
from rlhf.packed import Engine, Group
from rlhf.progress import progress

Sums = list[list[float]]


@dataclass(frozen=True)
class Reference:
    """Whose log-probabilities these are, and where they are kept."""

    folder: Path
    policy: str
    """Names the weights and their number format."""

    def sums(self, engine: Engine, groups: Sequence[Group], budget: int) -> Sums:
        """log p of each completion of each group. `engine` must hold the reference's weights.

        Token ids stand for snapshot and template: the same rows give the same file. A damaged file
        is computed again. Raises `StepFailed` for a number that is not finite.
        """
        rows = [[list(g.prompt), [list(c) for c in g.completions]] for g in groups]
        key = content_id({"policy": self.policy, "rows": rows}, 32)
        path = self.folder / f"{key}.json"
        kept = _kept(path, groups)
        if kept is None:
            kept = _computed(engine, groups, budget)
            write_json(path, {"policy": self.policy, "sums": kept, "check": content_id(kept)})
        return kept


def _computed(engine: Engine, groups: Sequence[Group], budget: int) -> Sums:
    with progress("reference", total=len(groups)) as advance, engine.on():
        sums = [row.tolist() for row in engine.sums(groups, budget, advance)]
    if not all(math.isfinite(value) for row in sums for value in row):
        raise StepFailed("the reference policy gives log-probabilities that are not finite")
    return sums


def _kept(path: Path, groups: Sequence[Group]) -> Sums | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        sums: Sums = kept["sums"]
        whole = kept["check"] == content_id(sums)
        fits = [len(row) for row in sums] == [len(g.completions) for g in groups]
        return sums if whole and fits else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
