"""Votes held back by people, and answers whose right vote is known."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("vote", sa.String(length=128), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_quarantine"),
    )
    op.create_index("ix_quarantine_vote_seq", "quarantine", ["vote", "seq"])
    op.create_table(
        "gold",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("interaction", sa.String(length=128), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["interaction"], ["interactions.id"], name="fk_gold_interaction"),
        sa.PrimaryKeyConstraint("seq", name="pk_gold"),
    )


def downgrade() -> None:
    op.drop_table("gold")
    op.drop_index("ix_quarantine_vote_seq", table_name="quarantine")
    op.drop_table("quarantine")
