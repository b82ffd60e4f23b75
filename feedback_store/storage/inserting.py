"""Rows into their table: the values of its columns, made once, in one statement.

SQLAlchemy's own way looks at each value of each row anew, which takes longer than SQLite does.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import JSON, Connection, Dialect, String, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.storage.tables import Utc

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
        _copy(connection, table, rows)


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


def _copy(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """PostgreSQL's COPY in its text format, which the server reads quicker than any INSERT."""
    driver: Any = connection.dialect.dbapi
    raw: Any = connection.connection.driver_connection
    statement = _copy_statement(table)
    lines = "".join(map(statement.line, rows))
    try:
        with raw.cursor() as cursor, cursor.copy(statement.sql) as copy:
            copy.write(lines)
    except driver.Error as error:  # past SQLAlchemy, which would have told it so
        told = DBAPIError.instance(
            statement.sql, None, error, driver.Error, dialect=connection.dialect
        )
        raise told from error


class _CopyStatement(NamedTuple):
    """A COPY in SQL, and a row as its line: tabs between the columns."""

    sql: str
    values: Callable[[Values], tuple[Any, ...]]
    written: Sequence[Callable[[Any], str]]
    """By place: how a value that isn't None is written."""

    def line(self, row: Values) -> str:
        values = zip(self.values(row), self.written, strict=True)
        return "\t".join(["\\N" if v is None else write(v) for v, write in values]) + "\n"


@lru_cache(maxsize=16)
def _copy_statement(table: Table) -> _CopyStatement:
    names = table.columns.keys()
    quoted = ", ".join(f'"{name}"' for name in names)
    written = [_writer_of(column.type) for column in table.columns]
    return _CopyStatement(f"COPY {table.name} ({quoted}) FROM STDIN", itemgetter(*names), written)


def _writer_of(kind: TypeEngine[Any]) -> Callable[[Any], str]:
    if isinstance(kind, String):
        return _escaped
    if isinstance(kind, JSON):
        return _json_text
    return _moment if isinstance(kind, Utc) else str


# What COPY would read as its own marks.
_MARK = re.compile(r"[\\\t\n\r]")
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _escaped(text: str) -> str:
    return _MARK.sub(lambda mark: _ESCAPES[mark[0]], text)


def _json_text(value: Any) -> str:
    if value == ():  # the usual list of reasons
        return "[]"
    return _escaped(json.dumps(value, ensure_ascii=False, allow_nan=False))


@lru_cache(maxsize=16)
def _moment(value: datetime) -> str:
    return value.isoformat()
