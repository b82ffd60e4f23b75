"""The rows of every file, taken in any order and given back in that of their hashes."""

from collections.abc import Iterator

from feedback_store.snapshots.budget import Budget
from feedback_store.snapshots.manifest import HELD_OUT_FILES, TRAINING_FILES, SnapshotRules
from feedback_store.snapshots.spool import Spool
from feedback_store.snapshots.training_rows import Row

FILES = (*TRAINING_FILES, *HELD_OUT_FILES)
# Sorting by the hash's first byte, and then each of these bins by itself, sorts by the hash.
_BINS = 256
PARTITIONS = len(FILES) * _BINS
# What a row takes in memory beside its line.
_ROW_BYTES = 300


class RowFiles:
    """`add` all rows, then read the `lines` of each file."""

    def __init__(self, rules: SnapshotRules, spool: Spool) -> None:
        """`spool` has `PARTITIONS` and is these files' alone."""
        everything = rules.model_copy(update={"window": None})
        self._spool = spool
        self._budgets = {
            name: Budget(rules if name in TRAINING_FILES else everything) for name in FILES
        }

    def add(self, name: str, row: Row) -> None:
        """Take a row of a file."""
        self._budgets[name].see(row)
        partition = FILES.index(name) * _BINS + int(row.place[:2], 16)
        self._spool.add(partition, tuple(row), _ROW_BYTES + len(row.line))

    def rows(self, name: str) -> int:
        """How many rows of a file stay within the budget."""
        return self._budgets[name].kept

    def over_budget(self, name: str) -> int:
        """How many don't."""
        return self._budgets[name].left_out

    def lines(self, name: str) -> Iterator[bytes]:
        """A file's lines; they can be read once."""
        budget = self._budgets[name]
        first = FILES.index(name) * _BINS
        for partition in range(first, first + _BINS):
            for row in map(Row._make, sorted(self._spool.take(partition))):
                if budget.keeps(row):
                    yield row.line
