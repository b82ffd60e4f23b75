"""Many keys in one parameter: one statement for any number, and one index look-up a key.

`WHERE id IN (?, ?, ...)` is parsed anew for each number of keys, and SQLite answers
`WHERE (a, b) IN (VALUES ...)` by reading the whole index, however large it has grown.
"""

import json
from collections.abc import Sequence

from sqlalchemy import JSON, Connection, Subquery, Text, bindparam, cast, column, func, select


def key_table(connection: Connection, keys: Sequence[Sequence[str]], *names: str) -> Subquery:
    """A table with a row for each key and a column for each name, to be joined first."""
    packed = bindparam("keys", json.dumps(keys), Text)
    if connection.dialect.name == "sqlite":
        rows = func.json_each(packed).table_valued("value")
        parts = [func.json_extract(rows.c.value, f"$[{place}]") for place in range(len(names))]
    else:
        elements = func.json_array_elements(cast(packed, JSON))
        rows = elements.table_valued(column("value", JSON))
        parts = [
            func.json_extract_path_text(rows.c.value, str(place)) for place in range(len(names))
        ]
    labelled = (part.label(name) for part, name in zip(parts, names, strict=True))
    return select(*labelled).select_from(rows).subquery("keys")
