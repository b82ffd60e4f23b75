"""Rows that may leave the house: interactions with consent, and what was said of those alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, Table, select

from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY, is_live
from feedback_store.storage.tables import comparisons, feedback, interactions
from feedback_store.store import Store

_PAGE = 2_000


def consented_interactions(
    store: Store, columns: Sequence[str], project: str, upto: int, *, everyone: bool = False
) -> Iterator[dict[str, Any]]:
    """Interactions up to a watermark in their order; `everyone` asks for no consent."""
    query = _columns(interactions, columns).where(interactions.c.project == project)
    if not everyone:
        query = query.where(interactions.c.consent)
    return _pages(store, query, interactions, upto)


def consented_feedback(
    store: Store, columns: Sequence[str], project: str, upto: int, *, everyone: bool = False
) -> Iterator[dict[str, Any]]:
    """Live feedback on such interactions."""
    query = _columns(feedback, columns).where(is_live(feedback, FEEDBACK_KEY, upto))
    query = _about(query, feedback, "interaction", project, everyone)
    return _pages(store, query, feedback, upto)


def consented_comparisons(
    store: Store, columns: Sequence[str], project: str, upto: int, *, everyone: bool = False
) -> Iterator[dict[str, Any]]:
    """Live choices between two such interactions."""
    query = _columns(comparisons, columns).where(is_live(comparisons, COMPARISON_KEY, upto))
    for side in ("a", "b"):
        query = _about(query, comparisons, side, project, everyone)
    return _pages(store, query, comparisons, upto)


def _columns(table: Table, names: Sequence[str]) -> Select[Any]:
    return select(*(table.c[name] for name in names))


def _about(
    query: Select[Any], table: Table, name: str, project: str, everyone: bool
) -> Select[Any]:
    """Those whose column `name` speaks of such an interaction."""
    # A join would let the planner begin with the project's interactions, and sort for every page.
    of = select(interactions.c.project).where(interactions.c.id == table.c[name])
    if not everyone:
        of = of.where(interactions.c.consent)
    return query.where(of.scalar_subquery() == project)


def _pages(store: Store, query: Select[Any], table: Table, upto: int) -> Iterator[dict[str, Any]]:
    """Page by page, so that no view of the database stays open."""
    query = query.where(table.c.seq <= upto).order_by(table.c.seq).limit(_PAGE)
    after = 0
    while True:
        with store._database.read() as connection:
            rows = connection.execute(query.where(table.c.seq > after)).mappings().all()
        for row in rows:
            yield dict(row)
        if len(rows) < _PAGE:
            return
        after = rows[-1]["seq"]
