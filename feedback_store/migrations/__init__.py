"""The database's shape through time; `upgrade` brings one forward to what this code knows.

A new revision: change `tables.py`, run `alembic.command.revision(config(connection), "why",
autogenerate=True)` against an upgraded database, read what it wrote, and set HEAD to its id.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from feedback_store.errors import Damaged, Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0004"


def config(connection: Connection) -> "Config":
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
    from alembic.script import ScriptDirectory

    settings = config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    if current is not None and current not in known:
        raise Unavailable(
            f"{name}: written by a newer version (revision {current}, this one knows up to "
            f"{HEAD}); upgrade this package to open it"
        )
    command.upgrade(settings, "head")


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
