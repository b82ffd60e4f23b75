"""What rows added since a number say, for whoever keeps counts of them.

A vote that takes the place of an earlier one gives two rows: the earlier word is taken away (`sign`
-1) and the later is added; a withdrawal only takes away. So the rows from any number on, added up,
are what stands. Every read costs what is new.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, and_, case, func, select

from feedback_store.metrics import Metrics
from feedback_store.reading.breakdown import language_of
from feedback_store.reading.reads import COMPARISON_KEY, FEEDBACK_KEY
from feedback_store.reading.stats import directions
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, interactions
from feedback_store.writing.rows import chunks


class Groups(NamedTuple):
    """What an answer is counted by; "" where it has none."""

    policy: str
    style: str
    intent: str
    language: str


class NewAnswer(NamedTuple):
    """An interaction; `characters` are its response's."""

    seq: int
    id: str
    created_at: datetime
    groups: Groups
    simulated: bool
    finish: str | None
    blocked: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_ms: float | None
    first_token_ms: float | None
    characters: int


class NewVote(NamedTuple):
    """A word on one answer, added or taken away."""

    sign: int
    created_at: datetime
    groups: Groups
    simulated: bool
    kind: str
    metric: str
    value: float | None
    direction: int
    """1 speaks for the answer, -1 against it."""


class NewChoice(NamedTuple):
    """A choice between two answers, added or taken away."""

    sign: int
    created_at: datetime
    sides: tuple[Groups, Groups]
    characters: tuple[int, int]
    simulated: bool
    choice: str
    shown_first: str | None
    reason: str | None


class New(NamedTuple):
    """All that is new in a project."""

    answers: list[NewAnswer]
    votes: list[NewVote]
    choices: list[NewChoice]


class AnswerText(NamedTuple):
    """What was asked and answered."""

    seq: int
    messages: Sequence[dict[str, str]]
    response: str


class NewRows:
    """The part of the store that tells what came."""

    _database: Database
    metrics: Metrics

    def new_rows(self, project: str, after: int, upto: int) -> New:
        """What the rows numbered (after, upto] say, as of `upto`."""
        with self._database.read() as connection:
            return New(
                list(_answers(connection, project, after, upto)),
                list(_votes(connection, self.metrics, project, after, upto)),
                list(_choices(connection, project, after, upto)),
            )

    def answer_texts(self, seqs: Sequence[int]) -> Iterator[AnswerText]:
        """Texts of interactions, as far as they are stored."""
        i = interactions.c
        for some in chunks(seqs):
            query = select(i.seq, i.messages, i.response).where(i.seq.in_(some))
            with self._database.read() as connection:
                rows = connection.execute(query.order_by(i.seq)).all()
            yield from (AnswerText(*row) for row in rows)


def _answers(connection: Connection, project: str, after: int, upto: int) -> Iterator[NewAnswer]:
    i = interactions.c
    query = select(
        *(i.seq, i.id, i.created_at),
        *_groups(interactions, connection),
        *(i.simulated, i.finish_reason, i.blocked.is_not(None)),
        *(i.prompt_tokens, i.completion_tokens, i.latency_ms, i.first_token_ms),
        func.length(i.response),
    ).where(i.seq > after, i.seq <= upto, i.project == project)
    for seq, id, created_at, *rest in connection.execute(query.order_by(i.seq)).all():
        yield NewAnswer(seq, id, created_at, Groups(*rest[:4]), *rest[4:])


def _votes(
    connection: Connection, metrics: Metrics, project: str, after: int, upto: int
) -> Iterator[NewVote]:
    f = feedback.c
    up, down = directions(metrics)
    said = (f.created_at, f.simulated, f.kind, f.metric, f.value)
    direction = case((up, 1), (down, -1), else_=0)
    groups = _groups(interactions, connection)
    for sign, query in _both(
        select(*said, direction, *groups), feedback, FEEDBACK_KEY, after, upto
    ):
        query = query.join(interactions, interactions.c.id == f.interaction)
        # Of no use to an index, so that the planner begins with the new votes.
        query = query.where(func.coalesce(interactions.c.project, "") == project)
        for created_at, simulated, kind, metric, value, way, *about in connection.execute(
            query
        ).all():
            yield NewVote(sign, created_at, Groups(*about), simulated, kind, metric, value, way)


def _choices(connection: Connection, project: str, after: int, upto: int) -> Iterator[NewChoice]:
    c = comparisons.c
    a, b = interactions.alias("side_a"), interactions.alias("side_b")
    said = (c.created_at, c.simulated, c.choice, c.shown_first, c.reason)
    sides = [column for side in (a, b) for column in _groups(side, connection)]
    lengths = [func.length(side.c.response) for side in (a, b)]
    columns = select(*said, *lengths, *sides)
    for sign, query in _both(columns, comparisons, COMPARISON_KEY, after, upto):
        query = query.join(a, a.c.id == c.a).join(b, b.c.id == c.b)
        query = query.where(func.coalesce(c.project, "") == project)
        for created_at, simulated, choice, shown, reason, *rest in connection.execute(query).all():
            yield NewChoice(
                sign=sign,
                created_at=created_at,
                sides=(Groups(*rest[2:6]), Groups(*rest[6:])),
                characters=(rest[0], rest[1]),
                simulated=simulated,
                choice=choice,
                shown_first=shown,
                reason=reason,
            )


def _both(
    columns: Select[Any], table: Table, key: tuple[str, ...], after: int, upto: int
) -> Iterator[tuple[int, Select[Any]]]:
    """The words that are new, and those whose place new ones take."""
    new = columns.select_from(table).where(table.c.seq > after, table.c.seq <= upto)
    yield 1, new.where(~table.c.withdrawn)
    later, between = table.alias("later"), table.alias("between")
    last = select(func.max(between.c.revision)).where(
        *(between.c[name] == later.c[name] for name in key),
        between.c.revision < later.c.revision,
    )
    before = and_(
        *(table.c[name] == later.c[name] for name in key),
        table.c.revision == last.correlate(later).scalar_subquery(),
    )
    old = columns.select_from(later.join(table, before)).where(~table.c.withdrawn)
    yield -1, old.where(later.c.seq > after, later.c.seq <= upto, later.c.revision > 1)


def _groups(table: Any, connection: Connection) -> list[Any]:
    c = table.c
    return [
        func.coalesce(c.policy, ""),
        func.coalesce(c.style_used, c.style_asked, ""),
        func.coalesce(c.intent, ""),
        language_of(c.response, connection),
    ]
