"""What a data set covers, counted in bounded memory; `document` is the report's JSON.

Counts of rows, languages, stages and lengths are exact; those of users, prompts and intents are
exact up to a cap and carry their error beyond it. What is slow (words, compliance, tokens) is told
of a fixed random sample. Nothing depends on the order of the rows, nor on how many come at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rlhf.data import coverage_tables as tables
from rlhf.data.balance import CoverageThresholds, warnings
from rlhf.data.counts import Counts, Lengths, counted
from rlhf.data.path_stages import STAGES
from rlhf.data.row_facts import Facts, Row, Said, has_user, row_facts, traits
from rlhf.data.row_sample import Excerpt, RowSample
from rlhf.data.vocabulary import vocabulary

_LONGEST = 4_000  # characters that the sample keeps of a text


class Coverage:
    """Counts over rows."""

    def __init__(self, seed: int = 0, sample: int = 2_000) -> None:
        self.rows = 0
        self._seed = seed
        kinds = ("shape", "label", "language", "stage", "turns", "synthetic")
        self._tally: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        self._cells, self._users, self._prompts = Counts(cap=4_096), Counts(), Counts(least=2)
        self._lengths = {"prompt": Lengths(), "answer": Lengths()}
        self._sample = RowSample(sample)

    def add(self, rows: Sequence[Row]) -> None:
        """Count rows; their `stages` are taken where a label step has put them there."""
        self.add_facts(row_facts(rows, self._seed), rows.__getitem__)
        for row in rows:
            if made := row.get("synthetic"):
                self._tally["synthetic"][made["by"]] += 1

    def add_facts(self, facts: Facts, row_at: Callable[[int], Row]) -> None:
        """Count rows by their `row_facts`; few of the rows themselves are asked for."""
        self.rows += len(facts)
        for number, times in zip(*counted(facts["traits"]), strict=True):
            for kind, name in traits(number):
                self._tally[kind][name] += times
        for kind, lengths in self._lengths.items():
            lengths.add_many(facts[kind])
        self._prompts.add_many(facts["prompts"], lambda at: Said.of(row_at(at)).prompt)
        self._cells.add_many(facts["cells"], lambda at: Said.of(row_at(at)).cell)
        users = np.flatnonzero(has_user(facts))
        self._users.add_many(facts["users"][users], lambda at: Said.of(row_at(users[at])).user)
        self._sample.add_many(facts["rank"], lambda at: _excerpt(row_at(at)))

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
            "intents": tables.intents(self._cells, sample, tally["label"], self.rows),
            "stages": tables.shares({s: tally["stage"][s] for s in STAGES}, self.rows),
            "turns": tables.shares(dict(sorted(tally["turns"].items())), self.rows),
            "lengths": {kind: tables.lengths(some, *ends) for kind, some in self._lengths.items()},
            "languages": tables.shares(tables.ranked(tally["language"]), self.rows),
            "users": tables.users(self._users, sample, self.rows),
            "prompts": tables.prompts(self._prompts, sample, self.rows),
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


def _excerpt(row: Row) -> Excerpt:
    said = Said.of(row)
    return {
        "source": row.get("source", ""),
        "asked": said.asked[:_LONGEST],
        "answer": said.answer[:_LONGEST],
        "prompt": said.prompt,
        "cell": said.cell,
        "user": said.user or None,
    }
