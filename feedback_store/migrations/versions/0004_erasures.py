"""What was erased: the erasures, the snapshots that went with them, the policies they taint."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("first", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("copies", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
    )
    op.create_table(
        "erased_snapshots",
        sa.Column("snapshot", sa.String(length=128), nullable=False),
        sa.Column("erasure", sa.String(length=128), nullable=False),
        sa.Column("replaced_by", sa.String(length=128), nullable=True),
        sa.ForeignKeyConstraint(["erasure"], ["erasures.id"], name="fk_erased_snapshots_erasure"),
        sa.PrimaryKeyConstraint("snapshot", name="pk_erased_snapshots"),
    )
    op.create_table(
        "taints",
        sa.Column("policy", sa.String(length=128), nullable=False),
        sa.Column("erasure", sa.String(length=128), nullable=False),
        sa.Column("through", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["erasure"], ["erasures.id"], name="fk_taints_erasure"),
        sa.PrimaryKeyConstraint("policy", "erasure", name="pk_taints"),
    )
    op.create_index("ix_comparisons_a", "comparisons", ["a"])
    op.create_index("ix_comparisons_b", "comparisons", ["b"])


def downgrade() -> None:
    op.drop_index("ix_comparisons_b", "comparisons")
    op.drop_index("ix_comparisons_a", "comparisons")
    for table in ("taints", "erased_snapshots", "erasures"):
        op.drop_table(table)
