"""The database's shape through time; `upgrade` brings one forward to what this code knows.

A new revision: change `tables.py`, run `alembic.command.revision(config(connection), "why",
autogenerate=True)` against an upgraded database, read what it wrote, and set HEAD to its id.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, inspect, select, text

from feedback_store.errors import Damaged, Unavailable
from feedback_store.pseudonyms import unlock
from feedback_store.storage.tables import properties

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0008"


def revisions() -> set[str]:
    """Every revision that this code can bring forward."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}


def config(connection: Connection | None = None) -> "Config":
    """Alembic's settings for a connection; no ini file is read."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", "feedback_store:migrations")
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


def upgrade(connection: Connection, name: str) -> None:
    """Bring the database forward inside the caller's transaction; refuse what isn't ours."""
    current = _revision(connection, name)
    if current == HEAD:
        return
    from alembic import command

    settings = config(connection)
    settings.attributes["pseudonyms"] = lambda: unlock(connection, name)
    if current is not None and current not in revisions():
        raise Unavailable(
            f"{name}: written by a newer version (revision {current}, this one knows up to "
            f"{HEAD}); upgrade this package to open it"
        )
    command.upgrade(settings, "head")


def sweep(connection: Connection) -> None:
    """Clear the file of the plain ids that a migration has replaced, unless that is done.

    Inside a write transaction of an SQLite file, which it ends and begins anew: only a vacuum
    leaves nothing in free pages, and it runs by itself. Interrupted, it is still due.
    """
    due = properties.c.name == "sweep"
    if connection.execute(select(properties.c.value).where(due)).scalar() is None:
        return
    if connection.dialect.name == "sqlite":
        for statement in ("COMMIT", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "BEGIN IMMEDIATE"):
            connection.exec_driver_sql(statement).close()
    connection.execute(delete(properties).where(due))


def _revision(connection: Connection, name: str) -> str | None:
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)
    if tables:
        raise Damaged(
            f"{name}: a database, but not a feedback store (it holds {', '.join(tables[:3])}); "
            "name another file"
        )
    return None
