"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _counter()
    _interactions()
    _feedback()
    _comparisons()
    _policies()
    _snapshots()
    _decisions()
    _releases()


def downgrade() -> None:
    for table in (
        "releases",
        "decisions",
        "snapshots",
        "policies",
        "comparisons",
        "feedback",
        "interactions",
        "counter",
    ):
        op.drop_table(table)


def _counter() -> None:
    table = op.create_table(
        "counter",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", SEQ, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counter"),
    )
    op.bulk_insert(table, [{"name": "rows", "value": 0}])


def _interactions() -> None:
    op.create_table(
        "interactions",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("conversation", sa.String(length=128), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("response_token_ids", sa.JSON(), nullable=True),
        sa.Column("finish_reason", sa.String(length=16), nullable=True),
        sa.Column("policy", sa.String(length=128), nullable=True),
        sa.Column("template_hash", sa.String(length=128), nullable=True),
        sa.Column("style_asked", sa.String(length=64), nullable=True),
        sa.Column("style_used", sa.String(length=64), nullable=True),
        sa.Column("intent", sa.String(length=64), nullable=True),
        sa.Column("sampling", sa.JSON(), nullable=False),
        sa.Column("assignment_probability", sa.Float(), nullable=True),
        sa.Column("solicited", sa.Boolean(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("consent", sa.Boolean(), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=True),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_interactions"),
        sa.UniqueConstraint("id", name="uq_interactions_id"),
    )
    op.create_index("ix_interactions_project_seq", "interactions", ["project", "seq"])


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("interaction", sa.String(length=128), nullable=False),
        sa.Column("voter", sa.String(length=128), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("solicited", sa.Boolean(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["interaction"], ["interactions.id"], name="fk_feedback_interaction"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_feedback"),
        sa.UniqueConstraint("id", name="uq_feedback_id"),
        sa.UniqueConstraint(
            "interaction",
            "voter",
            "metric",
            "revision",
            name="uq_feedback_interaction_voter_metric_revision",
        ),
    )


def _comparisons() -> None:
    op.create_table(
        "comparisons",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("a", sa.String(length=128), nullable=False),
        sa.Column("b", sa.String(length=128), nullable=False),
        sa.Column("low", sa.String(length=128), nullable=False),
        sa.Column("high", sa.String(length=128), nullable=False),
        sa.Column("voter", sa.String(length=128), nullable=False),
        sa.Column("choice", sa.String(length=16), nullable=False),
        sa.Column("shown_first", sa.String(length=1), nullable=True),
        sa.Column("reason", sa.String(length=16), nullable=True),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("solicited", sa.Boolean(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["a"], ["interactions.id"], name="fk_comparisons_a"),
        sa.ForeignKeyConstraint(["b"], ["interactions.id"], name="fk_comparisons_b"),
        sa.PrimaryKeyConstraint("seq", name="pk_comparisons"),
        sa.UniqueConstraint("id", name="uq_comparisons_id"),
        sa.UniqueConstraint(
            "low", "high", "voter", "revision", name="uq_comparisons_low_high_voter_revision"
        ),
    )


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("parent", sa.String(length=128), nullable=True),
        sa.Column("snapshot", sa.String(length=128), nullable=True),
        sa.Column("run", sa.String(length=128), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
    )


def _snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("watermark", SEQ, nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("candidate", sa.String(length=128), nullable=False),
        sa.Column("champion", sa.String(length=128), nullable=True),
        sa.Column("promote", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("run", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["candidate"], ["policies.id"], name="fk_decisions_candidate"),
        sa.ForeignKeyConstraint(["champion"], ["policies.id"], name="fk_decisions_champion"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )


def _releases() -> None:
    op.create_table(
        "releases",
        sa.Column("seq", SEQ, autoincrement=False, nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=128), nullable=False),
        sa.Column("previous", sa.String(length=128), nullable=True),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["policy"], ["policies.id"], name="fk_releases_policy"),
        sa.ForeignKeyConstraint(["previous"], ["policies.id"], name="fk_releases_previous"),
        sa.PrimaryKeyConstraint("seq", name="pk_releases"),
    )
