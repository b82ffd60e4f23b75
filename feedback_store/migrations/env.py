"""Alembic runs this file for every command; the connection comes from `config.attributes`."""

from alembic import context

from feedback_store.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
