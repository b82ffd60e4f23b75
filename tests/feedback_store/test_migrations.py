import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

from feedback_store import Feedback, SnapshotRules, Store, Unavailable, build_snapshot
from feedback_store.migrations import HEAD, config
from feedback_store.storage.database import Database
from feedback_store.storage.tables import metadata


def test_migrations_make_the_tables_of_the_metadata(store: Store) -> None:
    with store._database.write() as connection:
        options = {"compare_type": True, "include_object": _kept_as_a_key(connection)}
        context = MigrationContext.configure(connection, opts=options)
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


def _kept_as_a_key(connection: Connection) -> Callable[..., bool]:
    """All but the foreign key that PostgreSQL has as triggers."""
    by_trigger = "fk_feedback_interaction" if connection.dialect.name == "postgresql" else None
    return lambda _object, name, *_: name != by_trigger


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


def old_store(path: Path, rows: int) -> None:
    """A store as revision 0001 left it: people under their own ids, any name for a metric."""
    from alembic import command

    database = Database(path)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    flags = {"simulated": False, "solicited": False, "created_at": at}
    said = {"revision": 1, "withdrawn": False, **flags}
    choice = {"id": "c", "project": "default", "a": "i0", "b": "i2", "choice": "a"}
    with database.write() as connection:
        command.upgrade(config(connection), "0001")
        found = MetaData()
        found.reflect(connection)

        def insert(table: str, values: list[dict[str, Any]]) -> None:
            connection.execute(found.tables[table].insert(), values)

        insert("interactions", [
            {
                "seq": n + 1, "id": f"i{n}", "project": "default", "conversation": f"i{n}",
                "turn": 0, "messages": [{"role": "user", "content": f"q{n % 2}"}],
                "response": f"r{n}", "sampling": {}, "consent": True, **flags,
                "user": f"secret-user-{n}" if n % 3 else None,
            }
            for n in range(rows)
        ])  # fmt: skip
        insert("feedback", [
            {
                "seq": rows + n + 1, "id": f"v{n}", "interaction": f"i{n}", "kind": "thumb",
                "voter": f"secret-voter-{n % 7}", "metric": "tone" if n % 5 == 0 else "thumb",
                "value": 1.0 if n % 2 else -1.0, "reasons": [], **said,
            }
            for n in range(rows)
        ])  # fmt: skip
        last = {"seq": 2 * rows + 1, "low": "i0", "high": "i2", "voter": "secret-voter-1"}
        insert("comparisons", [{**choice, **last, **said}])
        connection.execute(text(f"UPDATE counter SET value = {2 * rows + 1}"))
    database.close()


def holding(folder: Path, what: bytes) -> list[str]:
    return [file.name for file in folder.iterdir() if file.is_file() and what in file.read_bytes()]


def test_a_store_of_0001_comes_forward_with_its_people_hashed(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    old_store(path, 2_500)
    assert holding(tmp_path, b"secret-") == ["s.db"]
    with Store.open(path) as store:
        assert holding(tmp_path, b"secret-") == []  # not in free pages either, nor in the log
        assert store.watermark() == 5_001
        votes = list(store.feedback())
        assert len(votes) == 2_500
        assert [v.voter for v in votes[:7]] == [
            store.pseudonym(f"secret-voter-{n}") for n in range(7)
        ]
        users = [row.user for row in store.interactions()]
        assert users[:2] == [None, store.pseudonym("secret-user-1")]
        assert store.live_comparison("i2", "i0", "secret-voter-1").choice == "a"
        # A voter's old vote is superseded by a new one, on a metric that nobody had declared.
        again = Feedback(
            interaction="i5", voter="secret-voter-5", kind="thumb", metric="tone", value=1
        )
        store.append(feedback=[again])
        assert store.live_feedback("i5", "secret-voter-5", "tone").revision == 2
        assert build_snapshot(store, tmp_path, SnapshotRules(held_out=0.0)).counts["thumb"] == 2_500
    with Store.open(path) as store:
        assert store.live_feedback("i0", "secret-voter-0", "tone").value == -1.0


def test_an_interrupted_sweep_is_made_up_for(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "s.db"
    old_store(path, 300)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute(
            "CREATE TABLE gone AS SELECT a.voter FROM feedback a, feedback LIMIT 20000"
        )
        connection.commit()
        connection.execute("DROP TABLE gone")
        connection.commit()
    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.store.sweep", lambda connection: None)
        Store.open(path).close()
    assert holding(tmp_path, b"secret-") == ["s.db"]  # in free space: why there is a sweep
    Store.open(path).close()
    assert holding(tmp_path, b"secret-") == []


def test_a_store_without_votes_comes_forward(tmp_path: Path) -> None:
    from alembic import command

    database = Database(tmp_path / "s.db")
    with database.write() as connection:
        command.upgrade(config(connection), "0001")
    database.close()
    with Store.open(tmp_path / "s.db") as store:
        assert store.watermark() == 0 and store.waiting_counts() == {"waiting": 0, "expired": 0}
