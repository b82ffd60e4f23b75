"""Rows by their own id, whichever table they stand in."""

from collections.abc import Iterator

from sqlalchemy import func, or_, select

from feedback_store.errors import NotFound
from feedback_store.pseudonyms import Pseudonyms
from feedback_store.schema import Comparison, Feedback
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, feedback, interactions

Found = tuple[str, str]
_TABLES = {"interaction": interactions, "feedback": feedback, "comparison": comparisons}


class Lookups:
    """What a lineage starts from."""

    _database: Database
    _pseudonyms: Pseudonyms

    def vote(self, id: str) -> Feedback | Comparison:
        """A vote by its id, or `NotFound`."""
        with self._database.read() as connection:
            for record, table in ((Feedback, feedback), (Comparison, comparisons)):
                columns = [table.c[name] for name in record.model_fields]
                row = connection.execute(select(*columns).where(table.c.id == id)).one_or_none()
                if row is not None:
                    return record.model_validate(row._asdict())
        raise NotFound(f"no vote {id}")

    def has_interaction(self, id: str) -> bool:
        """Whether an interaction of this id is stored."""
        query = select(interactions.c.seq).where(interactions.c.id == id)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def votes_on(self, interaction: str, most: int | None = None) -> list[Found]:
        """Kind and id of every vote on an interaction, superseded ones too, oldest first.

        At most so many of each kind, where that is said.
        """
        spoken = {
            "feedback": feedback.c.interaction == interaction,
            "comparison": or_(comparisons.c.a == interaction, comparisons.c.b == interaction),
        }
        found = []
        with self._database.read() as connection:
            for kind, about in spoken.items():
                table = _TABLES[kind]
                query = select(table.c.seq, table.c.id).where(about).limit(most)
                found += [(row.seq, kind, row.id) for row in connection.execute(query)]
        return [(kind, id) for _, kind, id in sorted(found)]

    def blind_choice(self, a: str, b: str, voter: str) -> Comparison | None:
        """What this voter first chose between two answers in the arena, be it withdrawn since."""
        columns = [comparisons.c[name] for name in Comparison.model_fields]
        query = select(*columns).where(
            comparisons.c.low == min(a, b),
            comparisons.c.high == max(a, b),
            comparisons.c.voter == self._pseudonyms.of(voter),
            comparisons.c.reason == "arena",
        )
        with self._database.read() as connection:
            row = connection.execute(query.order_by(comparisons.c.revision).limit(1)).first()
        return None if row is None else Comparison.model_validate(row._asdict())

    def beginning(self, start: str, most: int = 3) -> Iterator[Found]:
        """Kind and id of interactions and votes whose id begins so, at most so many of each."""
        with self._database.read() as connection:
            for kind, table in _TABLES.items():
                near = table.c.id.startswith(start, autoescape=True)
                if connection.dialect.name == "sqlite":  # by bytes, so that a range is its index's
                    near = (table.c.id >= start) & (table.c.id < start + "~")
                query = select(table.c.id).where(near).order_by(table.c.id).limit(most)
                for row in connection.execute(query):
                    if row.id.startswith(start):
                        yield kind, row.id

    def answered_by(self, policy: str) -> int:
        """How many interactions a policy answered."""
        query = select(func.count()).select_from(interactions)
        with self._database.read() as connection:
            found = connection.execute(query.where(interactions.c.policy == policy))
            return int(found.scalar_one())

    def answered_lately(self, policy: str, within: int) -> list[str]:
        """The ids of a policy's answers among the last so many of all, the newest first."""
        query = select(interactions.c.id, interactions.c.policy)
        query = query.order_by(interactions.c.seq.desc()).limit(within)
        with self._database.read() as connection:
            return [row.id for row in connection.execute(query) if row.policy == policy]
