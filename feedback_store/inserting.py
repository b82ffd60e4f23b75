"""Rows into their table: the values of its columns, made once, in one statement.

SQLAlchemy's own way looks at each value of each row anew, which takes longer than SQLite does.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import JSON, Connection, Dialect, Table, TextClause, text

from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.tables import Utc

Values = Mapping[str, Any]


def values_of(row: Interaction | Feedback | Comparison) -> dict[str, Any]:
    """The row's fields as its columns have them; what the store stamps is to be put over these."""
    if isinstance(row, Interaction):
        return row.model_dump()
    if isinstance(row, Comparison):
        low, high = row.pair
        return {**vars(row), "low": low, "high": high}
    return vars(row)


def insert(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Write rows that have a value for each column."""
    if connection.dialect.name == "sqlite":
        statement = _statement(table, connection.dialect)
        connection.exec_driver_sql(statement.sql, [statement.parameters(row) for row in rows])
    else:
        rows_as_json = json.dumps([dict(row) for row in rows], default=_moment)
        connection.execute(_insert_json(table.name), {"rows": rows_as_json})


class _Statement(NamedTuple):
    """An INSERT in SQL, and how the driver takes the values."""

    sql: str
    values: Callable[[Values], tuple[Any, ...]]
    made: Sequence[tuple[int, Callable[[Any], Any]]]
    """By place: how a value is turned into what SQLite stores. All others it takes as they are."""

    def parameters(self, row: Values) -> tuple[Any, ...]:
        parameters = list(self.values(row))
        for place, make in self.made:
            parameters[place] = make(parameters[place])
        return tuple(parameters)


@lru_cache(maxsize=16)
def _statement(table: Table, dialect: Dialect) -> _Statement:
    made: list[tuple[int, Callable[[Any], Any]]] = []
    for place, column in enumerate(table.columns):
        process = column.type.dialect_impl(dialect).bind_processor(dialect)
        if process is None:
            continue
        if isinstance(column.type, Utc):  # the rows of a batch came at one moment
            made.append((place, lru_cache(maxsize=16)(process)))
        elif isinstance(column.type, JSON):
            made.append((place, _json(process)))
    names = table.columns.keys()
    return _Statement(str(table.insert().compile(dialect=dialect)), itemgetter(*names), made)


def _json(process: Callable[[Any], Any]) -> Callable[[Any], Any]:
    empty = process(())
    return lambda value: empty if value == () else process(value)


# PostgreSQL's quickest INSERT of many rows that still is an ordinary statement.
@cache
def _insert_json(table: str) -> TextClause:
    rows = f"json_populate_recordset(NULL::{table}, CAST(:rows AS json))"
    return text(f"INSERT INTO {table} SELECT * FROM {rows}")


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} can't be stored")
