"""Many keys in one parameter: one statement for any number, and one index look-up a key.

`WHERE id IN (?, ?, ...)` is parsed anew for each number of keys, and SQLite answers
`WHERE (a, b) IN (VALUES ...)` by reading the whole index, however large it has grown.
"""

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import JSON, Subquery, Text, bindparam, cast, column, func, select


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
