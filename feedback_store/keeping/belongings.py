"""Whose a row is: all that the tables hold of one person, by the names of their columns.

What belongs to a user: the conversations that the user took part in, whole (each later turn repeats
the ones before it), and all that anybody said of them. What belongs to a voter: every vote, comment
and correction of theirs, with its earlier revisions and tombstones. A new table is covered as long
as it calls these columns by these names.
"""

import hashlib
from collections.abc import Iterator
from typing import Self

from pydantic import model_validator
from sqlalchemy import ColumnElement, Connection, Select, String, Table, func, or_, select, tuple_

from feedback_store.fields import Id, Record
from feedback_store.storage.tables import comparisons, feedback, interactions, metadata

_OF_INTERACTIONS = ("interaction", "a", "b", "low", "high", "awaits")
_OF_VOTES = ("vote", "feedback", "comparison")


class Person(Record):
    """A user, a voter, or one who is both; ids in the form in which the store keeps them."""

    user: Id | None = None
    voter: Id | None = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.user is None and self.voter is None:
            raise ValueError("name a user or a voter")
        return self

    @property
    def subject(self) -> str:
        """Finds a person's erasure again without naming the person."""
        named = f"user\n{self.user or ''}\nvoter\n{self.voter or ''}"
        return hashlib.sha256(named.encode()).hexdigest()


class Traces(Record):
    """What a file that holds a person's rows would contain."""

    ids: frozenset[str]
    """Ids of the rows, and of the person."""
    texts: frozenset[str]
    """What the person said, what was answered, and what the voter wrote."""


def own_rows(table: Table, person: Person) -> ColumnElement[bool] | None:
    """The condition that picks a person's rows of a table; None where the table can't hold any."""
    conditions = list(_said_by(table, person))
    if person.user is not None:
        theirs = _interactions_of(person.user)
        names = ("id",) if table is interactions else _OF_INTERACTIONS
        conditions += [table.c[name].in_(theirs) for name in names if _holds_ids(table, name)]
    for name in _OF_VOTES:
        if _holds_ids(table, name):
            conditions += [table.c[name].in_(ids) for ids in _votes_of(person)]
    return or_(*conditions) if conditions else None


def _holds_ids(table: Table, name: str) -> bool:
    """A metric's `low` is a number, which PostgreSQL compares with no id."""
    return name in table.c and isinstance(table.c[name].type, String)


def count_rows(connection: Connection, person: Person) -> dict[str, int]:
    """How many rows of each table are the person's; tables without any are left out."""
    counts = {}
    for table in _children_first():
        if (theirs := own_rows(table, person)) is not None:
            query = select(func.count()).select_from(table).where(theirs)
            counts[table.name] = int(connection.execute(query).scalar_one())
    return {name: count for name, count in sorted(counts.items()) if count}


def delete_rows(connection: Connection, person: Person) -> dict[str, int]:
    """Take the person's rows out of every table; what points to a row goes before it."""
    counts = {}
    for table in _children_first():
        if (theirs := own_rows(table, person)) is not None:
            counts[table.name] = connection.execute(table.delete().where(theirs)).rowcount
    return {name: count for name, count in sorted(counts.items()) if count}


def first_numbers(connection: Connection, person: Person) -> dict[str, int]:
    """The lowest number of the person's rows in each project: older snapshots saw none of them."""
    first: dict[str, int] = {}
    for table in (interactions, feedback, comparisons):
        theirs = own_rows(table, person)
        if theirs is None:
            continue
        source = interactions if table is feedback else table
        query = select(source.c.project, func.min(table.c.seq)).where(theirs)
        if table is feedback:
            query = query.join_from(
                feedback, interactions, feedback.c.interaction == interactions.c.id
            )
        for project, seq in connection.execute(query.group_by(source.c.project)):
            first[project] = min(seq, first.get(project, seq))
    return first


def traces(connection: Connection, person: Person) -> Traces:
    """Ids and texts of the person's rows, to find their copies by."""
    ids = {name for name in (person.user, person.voter) if name is not None}
    texts: set[str] = set()
    for columns in (
        (interactions.c.id, interactions.c.messages, interactions.c.response),
        (feedback.c.id, feedback.c.text, feedback.c.reasons),
        (comparisons.c.id,),
    ):
        theirs = own_rows(columns[0].table, person)
        if theirs is not None:
            for row in connection.execute(select(*columns).where(theirs)):
                ids.add(row[0])
                texts |= set(_texts(row[1:]))
    return Traces(ids=frozenset(ids), texts=frozenset(texts))


def _texts(values: object) -> Iterator[str]:
    """Every text in the columns but a system's: all users share that one."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        if values.get("role") != "system":
            yield str(values["content"])
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _texts(value)


def _said_by(table: Table, person: Person) -> Iterator[ColumnElement[bool]]:
    if person.voter is not None and "voter" in table.c:
        yield table.c.voter == person.voter
    if person.user is not None and "user" in table.c and table is not interactions:
        yield table.c.user == person.user


def _interactions_of(user: str) -> Select[tuple[str]]:
    turn = interactions.alias("turn")
    place = (turn.c.project, turn.c.conversation)
    visited = select(*place).where(turn.c.user == user)
    here = tuple_(interactions.c.project, interactions.c.conversation)
    return select(interactions.c.id).where(here.in_(visited)).correlate(None)


def _votes_of(person: Person) -> Iterator[Select[tuple[str]]]:
    for table in (feedback, comparisons):
        theirs = own_rows(table, person)
        if theirs is not None:
            yield select(table.c.id).where(theirs).correlate(None)


def _children_first() -> list[Table]:
    """Interactions last, votes before them, and before these whatever speaks of votes."""
    last = [comparisons, feedback, interactions]
    return [table for table in metadata.tables.values() if table not in last] + last
