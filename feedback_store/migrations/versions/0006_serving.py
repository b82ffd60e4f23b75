"""Who may call the service, and what it knows of each answer."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("interactions", sa.Column("first_token_ms", sa.Float()))
    op.add_column("interactions", sa.Column("blocked", sa.Text()))
    drawn = sa.text("assignment_probability < 1")
    op.create_index(
        "ix_interactions_assigned",
        "interactions",
        ["policy", "seq"],
        sqlite_where=drawn,
        postgresql_where=drawn,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
    )


def downgrade() -> None:
    op.drop_table("api_keys")
    op.drop_index("ix_interactions_assigned", "interactions")
    op.drop_column("interactions", "blocked")
    op.drop_column("interactions", "first_token_ms")
