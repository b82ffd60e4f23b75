"""Many keys in one parameter: one statement for any number, and one index look-up a key.

`WHERE id IN (?, ?, ...)` is parsed anew for each number of keys, and SQLite answers
`WHERE (a, b) IN (VALUES ...)` by reading the whole index, however large it has grown.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import JSON, ColumnElement, Subquery, Text, bindparam, cast, column, func, select


def packed(keys: Iterable[str | Sequence[str]]) -> dict[str, str]:
    """The parameters of a statement that has a `key_table`; a key of one column is a plain text."""
    return {"keys": json.dumps(list(keys))}


def key_table(dialect: str, *names: str) -> Subquery:
    """A table with a row for each of the `packed` keys, to be joined first; names its columns."""
    keys = bindparam("keys", type_=Text)
    alone = len(names) == 1
    parts: list[ColumnElement[Any]]
    if dialect == "sqlite":
        rows = func.json_each(keys).table_valued("value")
        places = [f"$[{place}]" for place in range(len(names))]
        parts = [func.json_extract(rows.c.value, place) for place in places]
        if alone:
            parts = [rows.c.value]
    elif alone:
        rows = func.json_array_elements_text(cast(keys, JSON)).table_valued(column("value", Text))
        parts = [rows.c.value]
    else:
        rows = func.json_array_elements(cast(keys, JSON)).table_valued(column("value", JSON))
        places = [str(place) for place in range(len(names))]
        parts = [func.json_extract_path_text(rows.c.value, place) for place in places]
    labelled = (part.label(name) for part, name in zip(parts, names, strict=True))
    return select(*labelled).select_from(rows).subquery("keys")
