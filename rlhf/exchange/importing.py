"""A foreign file into the store: what can't be taken is told and kept aside, the rest goes in.

Rows are committed in batches, and each has an id that its content gives it, so an import that was
cut short is simply run again: what is in is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from feedback_store import Comparison, Conflict, Feedback, Interaction, NotFound, Refused, Store
from feedback_store.writing.known import known_ids
from rlhf.data.raw_rows import MAX_ROW_BYTES, Source, open_rows
from rlhf.data.scanner import Raw
from rlhf.data.strict_json import loads
from rlhf.errors import DataError, UsageError
from rlhf.exchange.entry import Entry, Origin, reason
from rlhf.exchange.formats import FORMATS, rows_of

BATCH = 1_000
# As the store's own: a clock may run ahead a little, a vote may not.
_CLOCK_SKEW = timedelta(minutes=5)

AnyRow = Interaction | Feedback | Comparison


@dataclass(frozen=True)
class Refusal:
    """A row that was not taken: where it begins, and why."""

    where: str
    line: int
    reason: str


@dataclass
class Summary:
    """What came of a file: its rows, and the records that they made."""

    file: str
    format: str
    rows: int = 0
    imported: int = 0
    already_in: int = 0
    refused: int = 0
    interactions: int = 0
    feedback: int = 0
    comparisons: int = 0
    without_vote: int = 0
    byte_order_mark: bool = False
    rejected_file: str | None = None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Taken:
    raw: Raw
    where: str
    row: Any
    entry: Entry


class Import:
    """One file on its way into a store."""

    def __init__(
        self,
        store: Store,
        path: Path,
        origin: Origin,
        *,
        tell: Callable[[Refusal], None],
        advance: Callable[[int], None] = lambda position: None,
        max_row_bytes: int = MAX_ROW_BYTES,
        rejected: Path | None = None,
    ) -> None:
        self._store = store
        self._path = path
        self._origin = origin
        self._format = FORMATS[origin.format]
        self._tell = tell
        self._advance = advance
        self._limit = max_row_bytes
        self._latest = datetime.now(UTC) + _CLOCK_SKEW
        self._aside = _Aside(rejected or path.with_name(f"{path.name}.rejected.jsonl"))
        self._summary = Summary(str(path), origin.format)

    def run(self) -> Summary:
        """Read the file to its end."""
        try:
            with self._path.open("rb") as file, self._aside:
                source = open_rows(file, self._path, self._limit, self._format.within(self._origin))
                self._summary.byte_order_mark = source.marked
                self._read(source)
        except OSError as error:
            if error.filename not in (str(self._path), self._path):
                raise
            raise DataError(f"{self._path}: cannot be read ({error.strerror})") from error
        self._summary.rejected_file = self._aside.written
        return self._summary

    def _read(self, source: Source) -> None:
        batch: list[_Taken] = []
        held = 0
        for raw in source.rows:
            for taken in self._taken(raw):
                batch.append(taken)
                held += len(_records(taken.entry))
                if held >= BATCH:
                    self._store_batch(batch)
                    batch, held = [], 0
            self._advance(source.position())
        self._store_batch(batch)

    def _taken(self, raw: Raw) -> Iterator[_Taken]:
        where = f"{self._path}:{raw.line}"
        try:
            if raw.problem:
                raise DataError(raw.problem)
            rows = rows_of(loads(raw.data), raw.inner, self._format, self._origin)
        except DataError as error:
            self._summary.rows += 1
            self._refuse(raw, where, None, error)
            return
        for place, row in enumerate(rows, start=1):
            self._summary.rows += 1
            named = where if len(rows) == 1 else f"{where} row {place}"
            try:
                if not isinstance(row, dict):
                    raise DataError(f"must be a JSON object, found {type(row).__name__}")
                entry = self._format.entry(row, self._origin)
                self._refuse_the_future(entry)
            except (DataError, ValidationError) as error:
                self._refuse(raw, named, row, error)
            else:
                yield _Taken(raw, named, row, entry)

    def _refuse_the_future(self, entry: Entry) -> None:
        for record in _records(entry):
            if record.created_at and record.created_at > self._latest:
                raise DataError(f"its time, {record.created_at.isoformat()}, lies in the future")

    def _refuse(self, raw: Raw, where: str, row: Any, error: Exception) -> None:
        self._summary.refused += 1
        refusal = Refusal(where, raw.line, reason(error))
        self._aside.keep(refusal, raw, row)
        self._tell(refusal)

    def _store_batch(self, batch: list[_Taken]) -> None:
        known = known_ids(self._store, (r for taken in batch for r in _records(taken.entry)))
        fresh: list[_Taken] = []
        said: set[str] = set()  # by rows before, of this batch
        for taken in batch:
            entry = _without(taken.entry, known)
            if all(record.id in said for record in _records(entry)):
                self._summary.already_in += 1
            else:
                fresh.append(_Taken(taken.raw, taken.where, taken.row, entry))
            said |= {record.id for record in _records(entry)}
        self._append(fresh)

    def _append(self, batch: list[_Taken]) -> None:
        """All at once; where the store refuses, halves of it, down to the rows that it means."""
        if not batch:
            return
        entries = [taken.entry for taken in batch]
        try:
            self._store.append(
                interactions=[r for entry in entries for r in entry.interactions],
                feedback=[r for entry in entries for r in entry.feedback],
                comparisons=[r for entry in entries for r in entry.comparisons],
            )
        except (Refused, Conflict, NotFound) as error:
            if len(batch) == 1:
                if isinstance(error, NotFound):
                    error = NotFound("speaks of an answer that isn't in the store; import it first")
                self._refuse(batch[0].raw, batch[0].where, batch[0].row, error)
                return
            half = len(batch) // 2
            self._append(batch[:half])
            self._append(batch[half:])
        else:
            for entry in entries:
                self._count(entry)

    def _count(self, entry: Entry) -> None:
        self._summary.imported += 1
        self._summary.interactions += len(entry.interactions)
        self._summary.feedback += len(entry.feedback)
        self._summary.comparisons += len(entry.comparisons)
        self._summary.without_vote += not (entry.feedback or entry.comparisons)


def _records(entry: Entry) -> tuple[AnyRow, ...]:
    return (*entry.interactions, *entry.feedback, *entry.comparisons)


def _without(entry: Entry, known: set[str]) -> Entry:
    return Entry(
        tuple(r for r in entry.interactions if r.id not in known),
        tuple(r for r in entry.feedback if r.id not in known),
        tuple(r for r in entry.comparisons if r.id not in known),
    )


class _Aside:
    """`<file>.rejected.jsonl`: each refused row as it came, with line and reason; made at need."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> None:
        if self._path.exists():
            if not _is_rejects(self._path):
                raise UsageError(
                    f"{self._path}: holds something else than refused rows; name another file "
                    "with --rejected"
                )
            self._path.unlink()  # an earlier import's

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def written(self) -> str | None:
        """Its path, if there was something to write."""
        return str(self._path) if self._file else None

    def keep(self, refusal: Refusal, raw: Raw, row: Any) -> None:
        """Append one row: as the value that was read, or else as the text that wasn't."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="\n")
        kept = {"line": refusal.line, "reason": refusal.reason}
        kept |= {"text": raw.data.decode("utf-8", "replace")} if row is None else {"row": row}
        self._file.write(json.dumps(kept, ensure_ascii=True) + "\n")


def _is_rejects(path: Path) -> bool:
    """Whether a file is one that an import wrote, by its first line."""
    with path.open("rb") as file:
        try:
            first = loads(file.readline(MAX_ROW_BYTES) or b"{}")
        except DataError:
            return False
    return isinstance(first, dict) and {"line", "reason"} <= first.keys()
