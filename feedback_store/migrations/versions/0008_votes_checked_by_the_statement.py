"""On PostgreSQL, votes' interactions are looked for once a statement, and no longer row by row.

A foreign key looks up and locks an interaction for every vote, and writes each lock into its log:
of a batch of 200 votes that took the server half of the time. The two triggers refuse what the key
refused, with its error, in one query for all rows; writers come one after another, so there is
nobody to lock a row against. SQLite looks keys up at no such cost and keeps its own.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NAME = "fk_feedback_interaction"

_CHECKS = f"""
CREATE OR REPLACE FUNCTION {_NAME}_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added
        WHERE NOT EXISTS (SELECT FROM interactions WHERE interactions.id = added.interaction)
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'feedback on no interaction ({_NAME})';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION {_NAME}_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM gone
        WHERE EXISTS (SELECT FROM feedback WHERE feedback.interaction = gone.id)
        AND NOT EXISTS (SELECT FROM interactions WHERE interactions.id = gone.id)
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'feedback on an interaction ({_NAME})';
    END IF;
    RETURN NULL;
END $$;
"""
# Each event has a trigger of its own: PostgreSQL gives the rows of only one to a function.
_TRIGGERS = (
    ("feedback", "INSERT", "NEW TABLE AS added", "added"),
    ("feedback", "UPDATE", "NEW TABLE AS added", "added"),
    ("interactions", "DELETE", "OLD TABLE AS gone", "gone"),
    ("interactions", "UPDATE", "OLD TABLE AS gone", "gone"),
)


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.drop_constraint(_NAME, "feedback", type_="foreignkey")
    op.execute(_CHECKS)
    for table, event, rows, check in _TRIGGERS:
        op.execute(
            f"CREATE TRIGGER {_NAME}_{event.lower()} AFTER {event} ON {table} "
            f"REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION {_NAME}_{check}()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, event, _, _ in _TRIGGERS:
        op.execute(f"DROP TRIGGER {_NAME}_{event.lower()} ON {table}")
    for check in ("added", "gone"):
        op.execute(f"DROP FUNCTION {_NAME}_{check}()")
    op.create_foreign_key(_NAME, "feedback", "interactions", ["interaction"], ["id"])
