"""Many keys or rows in one parameter: one statement for any number, and one index look-up a key.

`WHERE id IN (?, ?, ...)` is parsed anew for each number of keys, and SQLite answers
`WHERE (a, b) IN (VALUES ...)` by reading the whole index, however large it has grown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    Subquery,
    Table,
    Text,
    TextClause,
    bindparam,
    cast,
    column,
    func,
    select,
    text,
)


def packed(keys: Iterable[Sequence[str]]) -> dict[str, str]:
    """The parameters of a statement that has a `key_table`."""
    return {"keys": json.dumps(list(keys))}


def key_table(dialect: str, *names: str) -> Subquery:
    """A table with a row for each of the `packed` keys, to be joined first; names its columns."""
    keys = bindparam("keys", type_=Text)
    places = range(len(names))
    if dialect == "sqlite":
        rows = func.json_each(keys).table_valued("value")
        parts = [func.json_extract(rows.c.value, f"$[{place}]") for place in places]
    else:
        elements = func.json_array_elements(cast(keys, JSON))
        rows = elements.table_valued(column("value", JSON))
        parts = [func.json_extract_path_text(rows.c.value, str(place)) for place in places]
    labelled = (part.label(name) for part, name in zip(parts, names, strict=True))
    return select(*labelled).select_from(rows).subquery("keys")


def insert_as_json(
    table: Table, rows: Sequence[Mapping[str, Any]]
) -> tuple[TextClause, dict[str, str]]:
    """PostgreSQL's quickest INSERT of many rows that still is an ordinary statement."""
    return _insert_json(table.name), {"rows": json.dumps(rows, default=_moment)}


@cache
def _insert_json(table: str) -> TextClause:
    rows = f"json_populate_recordset(NULL::{table}, CAST(:rows AS json))"
    return text(f"INSERT INTO {table} SELECT * FROM {rows}")


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} can't be stored")
