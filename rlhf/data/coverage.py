"""What a data set covers, counted row by row in bounded memory; `document` is the report's JSON.

Counts of rows, languages, stages and lengths are exact; those of users, prompts and intents are
exact up to a cap and carry their error beyond it. What is slow (words, compliance, tokens) is told
of a fixed random sample. Nothing depends on the order of the rows or on who counted which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rlhf.data import coverage_tables as tables
from rlhf.data.balance import CoverageThresholds, warnings
from rlhf.data.counts import Counts, Lengths, short_key
from rlhf.data.path_stages import STAGES, stages_of, turns_of
from rlhf.data.row_sample import Excerpt, RowSample
from rlhf.data.vocabulary import vocabulary

_MOST_TURNS = 8
_LONGEST = 4_000  # characters that the sample keeps of a text


class Coverage:
    """Counts over rows; `merge` adds another's, whatever the order."""

    def __init__(self, seed: int = 0, sample: int = 2_000) -> None:
        self.rows = 0
        kinds = ("shape", "label", "language", "stage", "turns", "synthetic")
        self._tally: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        self._counts = {"cells": Counts(cap=4_096), "users": Counts(), "prompts": Counts()}
        self._lengths = {"prompt": Lengths(), "answer": Lengths()}
        self._sample = RowSample(sample, seed)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row; its `stages` are taken where a label step has put them there."""
        asked = "\n".join(m["content"] for m in row["prompt"] if m["role"] != "system").strip()
        answer = row.get("completion") or row.get("chosen") or ""
        key = short_key(asked)
        cell = tables.cell(row.get("intent"), row.get("style"))
        self.rows += 1
        self._lengths["prompt"].add(len(asked))
        self._lengths["answer"].add(len(answer))
        self._counts["prompts"].add(key)
        self._counts["cells"].add(cell)
        self._label(row)
        name = f"{row.get('source', '')}\0{asked}\0{answer}"
        self._sample.add(name, lambda: _excerpt(row, asked, answer, key, cell))

    def _label(self, row: Mapping[str, Any]) -> None:
        tally = self._tally
        shape = "preference" if "chosen" in row else "judged" if "label" in row else "dialogue"
        tally["shape"][shape] += 1
        tally["language"][row.get("language") or "other"] += 1
        turns = turns_of(row)
        tally["turns"][str(turns) if turns < _MOST_TURNS else f"{_MOST_TURNS}+"] += 1
        for stage in row["stages"] if "stages" in row else stages_of(row):
            tally["stage"][stage] += 1
        for label in ("intent", "style", "user", "intent_by"):
            if row.get(label):
                tally["label"][label] += 1
        if user := row.get("user"):
            self._counts["users"].add(short_key(user))
        if made := row.get("synthetic"):
            tally["synthetic"][made["by"]] += 1

    def merge(self, other: Coverage) -> None:
        """Take in what another counted of other rows; it is left as it was."""
        self.rows += other.rows
        for kind, tally in self._tally.items():
            tally.update(other._tally[kind])
        for kind, counts in self._counts.items():
            counts.merge(other._counts[kind])
        for kind, lengths in self._lengths.items():
            lengths.merge(other._lengths[kind])
        self._sample.merge(other._sample)

    def document(
        self,
        thresholds: CoverageThresholds | None = None,
        *,
        duplicates: Mapping[str, int] | None = None,
        redaction: Mapping[str, int] | None = None,
        rejected: Mapping[str, int] | None = None,
        classifier: Mapping[str, float] | None = None,
        tokenizer: tables.Tokenizer | None = None,
    ) -> dict[str, Any]:
        """The report as JSON values, with the warnings that the thresholds call for.

        `duplicates` counts rows that were taken out, by kind; `redaction` placeholders by kind;
        `rejected` rows by reason; `classifier` tells how good the one that filled in intents is;
        `tokenizer` is a name and a function that counts tokens.
        """
        limits = thresholds or CoverageThresholds()
        ends = limits.short_answer, limits.long_answer
        sample, tally = self._sample.rows(), self._tally
        found: dict[str, Any] = {
            "rows": self.rows,
            "sampled": len(sample),
            "shapes": tables.shares(tally["shape"], self.rows),
            "intents": tables.intents(self._counts["cells"], sample, tally["label"], self.rows),
            "stages": tables.shares({s: tally["stage"][s] for s in STAGES}, self.rows),
            "turns": tables.shares(dict(sorted(tally["turns"].items())), self.rows),
            "lengths": {kind: tables.lengths(some, *ends) for kind, some in self._lengths.items()},
            "languages": tables.shares(tables.ranked(tally["language"]), self.rows),
            "users": tables.users(self._counts["users"], sample, self.rows),
            "prompts": tables.prompts(self._counts["prompts"], sample, self.rows),
            "synthetic": tables.shares(tables.ranked(tally["synthetic"]), self.rows),
            "vocabulary": vocabulary([row["answer"] for row in sample]),
            "compliance": tables.compliance(sample),
            "tokens": tables.tokens(sample, tokenizer, self.rows),
            "duplicates": tables.duplicates(duplicates, self.rows),
            "redaction": dict(redaction or {}),
            "rejected": dict(rejected or {}),
            "classifier": dict(classifier) if classifier else None,
        }
        return {**found, "warnings": warnings(found, limits)}


def _excerpt(row: Mapping[str, Any], asked: str, answer: str, key: str, cell: str) -> Excerpt:
    user = row.get("user")
    return {
        "source": row.get("source", ""),
        "asked": asked[:_LONGEST],
        "answer": answer[:_LONGEST],
        "prompt": key,
        "cell": cell,
        "user": short_key(user) if user else None,
    }
