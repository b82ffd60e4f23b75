"""What rewards read of a row beside its texts: style, intent, and columns of people's own.

As TRL hands a reward every column of a data set, so a row's `mood`, `sources` or `format` reach
it here, and a weight may depend on them. Who wrote a row is no matter of what it is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlhf.data.records import Record

# Read by the shapes themselves; people; and what the caller of a reward says of its own.
_TEXTS = {"prompt", "context", "messages", "completion", "response", "chosen", "rejected", "label"}
_READ = {"style", "intent", "conversation", "weight", "margin", "unfinished"}
_PEOPLE = {"user", "voter"}
_CALLERS = {"prompts", "completions", "completion_ids", "answers", "reference", "trainer_state"}
TAKEN = _TEXTS | _READ | _PEOPLE | _CALLERS


def others(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that are people's own."""
    return {name: value for name, value in row.items() if name not in TAKEN}


def column_names(records: Iterable[Record]) -> tuple[str, ...]:
    """Every column that any of the records has, in the order of their first."""
    names = dict.fromkeys(("style", "intent"))
    for record in records:
        names |= dict.fromkeys(record.columns)
    return tuple(names)


def columns_of(records: Sequence[Record], names: Iterable[str]) -> dict[str, list[Any]]:
    """Columns of a batch; `names` are of all batches, so that none lacks a column: None."""
    return {name: [_value(record, name) for record in records] for name in names}


def _value(record: Record, name: str) -> Any:
    return getattr(record, name) if name in ("style", "intent") else record.columns.get(name)
