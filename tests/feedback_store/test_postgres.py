"""What is PostgreSQL's own: its lock, its settings, its errors in words. All else runs on both."""

import threading

import pytest
from sqlalchemy import make_url, text

from feedback_store import Conflict, Feedback, Refused, Store, Unavailable
from feedback_store.storage.tables import metadata


def test_writers_come_one_after_another(fresh_postgres: str, ask, monkeypatch) -> None:
    monkeypatch.setattr("feedback_store.storage.database.LOCK_SECONDS", 0.2)
    with Store.open(fresh_postgres) as store, Store.open(fresh_postgres) as other:
        with (
            other._database.write(),
            pytest.raises(Unavailable, match="another writer holds the store"),
        ):
            store.append(interactions=[ask("a")])
        assert store.append(interactions=[ask("a")]) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE feedback SET interaction = 'nobody'",
        "DELETE FROM interactions",
        "UPDATE interactions SET id = 'nobody' WHERE id = 'a'",
        "INSERT INTO feedback SELECT 9, 'v9', 'nobody', voter, metric, kind, value, text, reasons, "
        "simulated, solicited, withdrawn, 1, created_at, client_time FROM feedback",
    ],
)
def test_a_vote_without_its_interaction_is_refused(
    fresh_postgres: str, ask, thumb, statement: str
) -> None:
    with Store.open(fresh_postgres) as store:
        store.append(interactions=[ask("a"), ask("b")], feedback=[thumb("a")])
        with (
            pytest.raises(Conflict, match="fk_feedback_interaction"),
            store._database.write() as connection,
        ):
            connection.execute(text(statement))
        assert len(list(store.feedback())) == 1
        with store._database.write() as connection:
            connection.execute(text("DELETE FROM interactions WHERE id = 'b'"))


@pytest.mark.parametrize(
    "comment", ["tab\there", "line\nbreak\r\n", "back\\slash \\N \\.", "“引号”"]
)
def test_what_copy_would_read_as_marks_comes_back(fresh_postgres: str, ask, comment: str) -> None:
    word = Feedback(interaction="a", voter="anna", kind="comment", text=comment)
    asked = ask("a").model_copy(update={"response": comment})
    with Store.open(fresh_postgres) as store:
        store.append(interactions=[asked], feedback=[word])
        assert [kept.text for kept in store.feedback()] == [comment]
        assert [kept.response for kept in store.interactions()] == [comment]


def test_a_commit_is_on_disk_whatever_the_server_thinks(fresh_postgres: str) -> None:
    name = make_url(fresh_postgres).database
    with Store.open(fresh_postgres) as store, store._database.write() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    with Store.open(fresh_postgres) as store, store._database.write() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"


def test_reading_is_one_view_and_writes_nothing(fresh_postgres: str, ask) -> None:
    with Store.open(fresh_postgres) as store:
        with store._database.read() as connection:
            count = text("SELECT count(*) FROM interactions")
            assert connection.execute(count).scalar() == 0
            store.append(interactions=[ask("a")])
            assert connection.execute(count).scalar() == 0
        with pytest.raises(Unavailable, match="read-only"), store._database.read() as connection:
            connection.execute(text("DELETE FROM interactions"))
        assert store.watermark() == 1


def test_several_may_open_a_new_database_at_once(fresh_postgres: str) -> None:
    with Store.open(fresh_postgres) as store, store._database.write() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    watermarks: list[int] = []

    def look() -> None:
        with Store.open(fresh_postgres) as store:
            watermarks.append(store.watermark())

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watermarks == [0, 0, 0, 0]


def test_what_cannot_be_opened_is_told_in_one_line_without_the_password(postgres: str) -> None:
    absent = make_url(postgres).set(database="absent").render_as_string(hide_password=False)
    for where, kind, words in (
        (absent, Unavailable, "no such database; make it"),
        ("postgresql://me:hush@127.0.0.1:1/votes", Unavailable, "onnection"),
        ("mysql://me:hush@127.0.0.1/votes", Refused, "SQLite or PostgreSQL"),
        ("postgresql+nothing://me:hush@127.0.0.1/votes", Refused, r"rlhf-loop\[postgres\]"),
        ("postgresql://me:hush@127.0.0.1:port/votes", Refused, "not a database URL"),
    ):
        with pytest.raises(kind, match=words) as error:
            Store.open(where)
        assert "hush" not in str(error.value) and "\n" not in str(error.value)
