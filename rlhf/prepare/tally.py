"""What a preparation counted, for its report."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlhf.prepare.ledger import Fates, Ledger

_EXAMPLES = 20
_MOST_REASONS = 50
# What differs between two rejections for one reason: places, names, values.
_OWN = re.compile(r"'[^']*'|\d+")


@dataclass
class Rejections:
    """How many rows were rejected, for what, and the first few."""

    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """One line of `rejected.jsonl`."""
        rejection = json.loads(line)
        self.count += 1
        reason = _OWN.sub("…", rejection["reason"])
        known = reason in self.reasons or len(self.reasons) < _MOST_REASONS
        self.reasons[reason if known else "other"] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append("{file}:{line}: {reason}".format_map(rejection))

    def document(self) -> dict[str, Any]:
        """For the report; the commonest reasons first."""
        reasons = dict(sorted(self.reasons.items(), key=lambda r: (-r[1], r[0])))
        return {"count": self.count, "reasons": reasons, "examples": self.examples}


def texts_document(counts: Mapping[str, int]) -> dict[str, Any]:
    """What cleaning and anonymising did, from the workers' counts."""
    kinds = {k.strip("<>"): n for k, n in sorted(counts.items()) if k[0] == "<" and n > 0}
    return {
        "cleaned_texts": counts.get("cleaned", 0),
        "anonymised_texts": counts.get("anonymised", 0),
        "identifiers": kinds,
    }


def twins_document(ledger: Ledger, fates: Fates) -> dict[str, Any]:
    """Rows that said what another says, and those of them that would have leaked."""
    gone = fates.exact | fates.near
    rows = ledger.rows
    across = gone & (fates.held[fates.twin] != rows["held"])
    return {
        "exact": int(fates.exact.sum()),
        "near": int(fates.near.sum()),
        "across_the_split": int(across.sum() + fates.leaked.sum()),
        "leaked_prompts": int(fates.leaked.sum()),
        "held_out_by_prompt": int(fates.by_prompt.sum()),
        "examples": _examples(ledger, fates),
    }


def _examples(ledger: Ledger, fates: Fates) -> list[dict[str, str]]:
    """The first few twins of each kind, by the places that they came from."""
    ends = np.cumsum(ledger.rows["size"], dtype=np.int64)

    def source(place: int) -> str:
        size = int(ledger.rows["size"][place])
        row = json.loads(ledger.lines.read(int(ends[place]) - size, size))
        return str(row["source"])

    return [
        {"row": source(place), "twin": source(int(fates.twin[place])), "by": by}
        for by, mask in (("exact", fates.exact), ("near", fates.near))
        for place in np.flatnonzero(mask)[:_EXAMPLES].tolist()
    ]
