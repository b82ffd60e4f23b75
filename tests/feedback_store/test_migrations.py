from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from feedback_store import Store, Unavailable
from feedback_store.migrations import HEAD, config
from feedback_store.tables import metadata


def test_migrations_make_the_tables_of_the_metadata(store: Store) -> None:
    with store._database.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        found = inspect(connection)
        assert set(found.get_table_names()) == {*metadata.tables, "alembic_version"}
        for name, table in metadata.tables.items():
            unique = {tuple(key["column_names"]) for key in found.get_unique_constraints(name)}
            wanted = {
                tuple(column.name for column in key.columns)
                for key in table.constraints
                if key.__visit_name__ == "unique_constraint"
            }
            assert unique == wanted


def test_head_is_the_last_revision(store: Store) -> None:
    with store._database.write() as connection:
        assert ScriptDirectory.from_config(config(connection)).get_heads() == [HEAD]


def test_downgrade_takes_all_away(store: Store) -> None:
    from alembic import command

    with store._database.write() as connection:
        command.downgrade(config(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        command.upgrade(config(connection), "head")
    assert store.watermark() == 0


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store, store._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match=r"newer version \(revision 9999"):
        Store.open(tmp_path / "s.db")
