"""What the pages people use keep: reviews and their reservations, freezes, counted figures."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KINDS = {"thumb", "rating", "comment", "correction", "implicit"}
_SIGNALS = ("copied", "regenerated")


def upgrade() -> None:
    asked = sa.text('"user" IS NOT NULL')
    op.create_index(
        "ix_interactions_user_seq",
        "interactions",
        ["user", "seq"],
        sqlite_where=asked,
        postgresql_where=asked,
    )
    op.create_index("ix_interactions_conversation", "interactions", ["conversation"])
    blocked = sa.text("blocked IS NOT NULL")
    op.create_index(
        "ix_interactions_blocked",
        "interactions",
        ["seq"],
        sqlite_where=blocked,
        postgresql_where=blocked,
    )
    op.create_table(
        "reviews",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("interaction", sa.String(length=128), nullable=False),
        sa.Column("voter", sa.String(length=128), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["interaction"], ["interactions.id"], name="fk_reviews_interaction"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_reviews"),
    )
    op.create_index("ix_reviews_interaction", "reviews", ["interaction"])
    op.create_table(
        "reservations",
        sa.Column("interaction", sa.String(length=128), nullable=False),
        sa.Column("voter", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["interaction"], ["interactions.id"], name="fk_reservations_interaction"
        ),
        sa.PrimaryKeyConstraint("interaction", name="pk_reservations"),
    )
    op.create_index("ix_reviews_project_created_at", "reviews", ["project", "created_at"])
    op.create_table(
        "held",
        sa.Column("vote", sa.String(length=128), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("vote", name="pk_held"),
    )
    op.create_index("ix_held_project", "held", ["project"])
    op.create_table(
        "freezes",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_freezes"),
    )
    op.create_table(
        "figures",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("dimension", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("project", "hour", "dimension", "name", name="pk_figures"),
    )
    op.create_table(
        "figures_upto",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("upto", _SEQ, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project", name="pk_figures_upto"),
    )

    _declare_signals()


def _declare_signals() -> None:
    """What the pages notice, where nobody declared metrics of their own."""
    names = ("name", "kind", "better", "declared")
    metrics = sa.table("metrics", *(sa.column(name) for name in names))
    rows = op.get_bind().execute(sa.select(metrics)).all()
    if not {row.name for row in rows if row.declared} >= _KINDS:
        return
    known = {row.name for row in rows}
    signals = [name for name in _SIGNALS if name not in known]
    told = {"kind": "implicit", "better": "higher", "declared": True}
    op.bulk_insert(metrics, [{"name": name, **told} for name in signals])


def downgrade() -> None:
    for table in ("figures_upto", "figures", "freezes", "held", "reservations", "reviews"):
        op.drop_table(table)
    for index in ("blocked", "conversation", "user_seq"):
        op.drop_index(f"ix_interactions_{index}", "interactions")
