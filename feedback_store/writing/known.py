"""Which rows a store already has, so that an import can pass them over."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Table, select

from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, interactions
from feedback_store.store import Store

_CHUNK = 500


def known_ids(store: Store, rows: Iterable[Interaction | Feedback | Comparison]) -> set[str]:
    """The ids among those of the rows that are stored."""
    tables: dict[type, Table] = {
        Interaction: interactions,
        Feedback: feedback,
        Comparison: comparisons,
    }
    wanted: dict[type, list[str]] = {}
    for row in rows:
        wanted.setdefault(type(row), []).append(row.id)
    found: set[str] = set()
    for kind, ids in wanted.items():
        found |= _stored(store._database, tables[kind], sorted(set(ids)))
    return found


def _stored(database: Database, table: Table, ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), _CHUNK):
        query = select(table.c.id).where(table.c.id.in_(ids[start : start + _CHUNK]))
        with database.read() as connection:
            found.update(connection.execute(query).scalars())
    return found
