"""The dialogue JSON that a service collects: `{"context", "response", "intent"?, "style"?}`."""

from __future__ import annotations

from rlhf.errors import DataError
from rlhf.exchange.entry import Entry, Origin, Row
from rlhf.exchange.from_records import entry_of, record_of


def dialogue(row: Row, origin: Origin) -> Entry:
    """One answered context."""
    for key in ("context", "response"):
        if not isinstance(row.get(key), str):
            raise DataError(f"a dialogue needs `{key}` as text")
    return entry_of(record_of(row), origin)
