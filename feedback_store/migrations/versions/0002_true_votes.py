"""Voters by pseudonym, declared metrics, votes that wait, requests sent again."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PAGE = 1_000
KINDS = ("thumb", "rating", "comment", "correction", "implicit")


def upgrade() -> None:
    _properties()
    _metrics()
    _waiting()
    _requests()
    for table in ("feedback", "comparisons"):
        op.add_column(table, sa.Column("client_time", sa.DateTime(timezone=True), nullable=True))
    counter = sa.table("counter", sa.column("name"), sa.column("value"))
    op.bulk_insert(counter, [{"name": name, "value": 0} for name in ("waiting", "expired")])
    _declare_what_is_there()
    _hash_people()


def downgrade() -> None:
    """The shape of before; the people stay hashed."""
    op.execute("DELETE FROM counter WHERE name IN ('waiting', 'expired')")
    for table in ("comparisons", "feedback"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("client_time")
    for table in ("requests", "waiting", "metrics", "properties"):
        op.drop_table(table)


def _properties() -> None:
    op.create_table(
        "properties",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_properties"),
    )


def _metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("better", sa.String(length=8), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_metrics"),
    )


def _waiting() -> None:
    op.create_table(
        "waiting",
        sa.Column("place", SEQ, autoincrement=True, nullable=False),
        sa.Column("record", sa.String(length=16), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("awaits", sa.String(length=128), nullable=True),
        sa.Column("voter", sa.String(length=128), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("place", name="pk_waiting"),
        sa.UniqueConstraint("record", "id", name="uq_waiting_record_id"),
    )
    for column in ("awaits", "voter", "created_at"):
        op.create_index(f"ix_waiting_{column}", "waiting", [column])


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("body", sa.String(length=64), nullable=False),
        sa.Column("watermark", SEQ, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_requests"),
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"])


def _declare_what_is_there() -> None:
    """Each kind under its own name, and what was voted on so far under the kind it mostly held."""
    query = sa.text("SELECT metric, kind FROM feedback GROUP BY metric, kind ORDER BY count(*)")
    found = {metric: kind for metric, kind in op.get_bind().execute(query)}
    found |= {kind: kind for kind in KINDS}
    columns = ("name", "kind", "low", "high", "better", "declared")
    op.bulk_insert(
        sa.table("metrics", *(sa.column(name) for name in columns)),
        [
            dict(zip(columns, (name, kind, None, None, "higher", True), strict=True))
            for name, kind in sorted(found.items())
        ],
    )


def _hash_people() -> None:
    """Pseudonyms for the plain ids of the rows; the store makes the key when the first is met."""
    bind = op.get_bind()
    pseudonym: Callable[[str], str] | None = None
    for name, column in (("feedback", "voter"), ("comparisons", "voter"), ("interactions", "user")):
        table = sa.table(name, sa.column("seq"), sa.column(column))
        after = 0
        while rows := bind.execute(_page(table, column, after)).all():
            if pseudonym is None:
                pseudonym = context.config.attributes["pseudonyms"]().of
            update = sa.update(table).where(table.c.seq == sa.bindparam("row"))
            values = [{"row": seq, "name": pseudonym(id)} for seq, id in rows]
            bind.execute(update.values({column: sa.bindparam("name")}), values)
            after = rows[-1].seq
    if pseudonym is not None:  # the old ids are still in free pages: see `migrations.sweep`
        bind.execute(sa.text("INSERT INTO properties (name, value) VALUES ('sweep', 'due')"))


def _page(table: Any, column: str, after: int) -> sa.Select[Any]:
    query = sa.select(table.c.seq, table.c[column])
    query = query.where(table.c.seq > after, table.c[column].is_not(None))
    return query.order_by(table.c.seq).limit(PAGE)
