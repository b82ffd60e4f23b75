"""One database: its connections, its lock, and its errors in words.

The SQLite found in the field (before 3.51.3) can corrupt a WAL file when two connections write or
checkpoint at once. So a lock file is held around everything that does either: opening (recovery),
every write transaction (the automatic checkpoint runs inside its commit) and closing (the last
connection to close checkpoints). Readers open the file read-only, so that they can do neither.
"""

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from feedback_store.errors import Conflict, Damaged, Refused, StoreError, Unavailable

LOCK_SECONDS = 60.0

# What the driver says, what that is, and the way out.
_MEANINGS: tuple[tuple[str, type[StoreError], str], ...] = (
    ("is full", Unavailable, "the disk is full; free some space and send the same again"),
    ("disk i/o error", Unavailable, "the disk refuses to read or write; check space and quota"),
    ("not a database", Damaged, "this is not a database; name another file or restore a copy"),
    ("malformed", Damaged, "the file is damaged; restore a copy"),
    ("is locked", Unavailable, "another program holds the file; stop it or try again"),
    ("readonly", Unavailable, "the file can't be written; check its permissions"),
    ("unable to open", Unavailable, "the file can't be opened; check its folder and permissions"),
)


def meaning(error: Exception, name: str) -> StoreError:
    """The store's error for a driver's error about the database `name`."""
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    if isinstance(error, IntegrityError):
        return Conflict(f"{name}: another writer was first ({cause}); send the same again")
    for sign, kind, words in _MEANINGS:
        if sign in cause.lower():
            return kind(f"{name}: {words}")
    return Unavailable(f"{name}: {cause}")


@contextmanager
def in_words(name: str) -> Iterator[None]:
    """Turn a driver's errors into the store's."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise meaning(error, name) from error


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _sqlite_engine(path: Path, *, write: bool) -> Engine:
    uri = f"file:{quote(str(path))}?mode={'rwc' if write else 'ro'}"

    def connect() -> sqlite3.Connection:
        # Without an isolation level the driver leaves BEGIN to us, and DDL is transactional.
        connection = sqlite3.connect(
            uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        if write:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        return connection

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=1 if write else 4,
        max_overflow=0 if write else 60,
        json_serializer=_json,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _locate(where: str | Path) -> tuple[URL, Path | None]:
    """The URL, and the file where it is SQLite."""
    text = str(where)
    try:
        is_url = isinstance(where, str) and "://" in text
        url = make_url(text) if is_url else URL.create("sqlite", database=text)
    except ArgumentError:
        raise Refused(f"{where}: neither a path nor a database URL") from None
    if url.get_backend_name() != "sqlite":
        return url, None
    if url.database in (None, "", ":memory:"):
        raise Refused("the store must be a file: votes kept in memory are lost with the process")
    return url, Path(str(url.database)).absolute()


class Database:
    """Engines to read and to write with, and the lock around every write."""

    def __init__(self, where: str | Path) -> None:
        url, path = _locate(where)
        self.name = str(path) if path else url.render_as_string(hide_password=True)
        self._mutex = threading.Lock()
        self._lock: FileLock | None = None
        if path is None:
            self._writer = create_engine(url, pool_pre_ping=True, json_serializer=_json)
            self._reader = self._writer
        else:
            self._make_room(path)
            self._lock = FileLock(f"{path}.lock", thread_local=False)
            self._writer = _sqlite_engine(path, write=True)
            self._reader = _sqlite_engine(path, write=False)
        # Also runs at exit, so that a forgotten close() doesn't checkpoint outside the lock.
        self._shut = weakref.finalize(
            self, _dispose, os.getpid(), self._reader, self._writer, self._lock
        )

    def _make_room(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{path}: its folder can't be made ({error.strerror})") from error
        if path.is_dir():
            raise Refused(f"{path}: is a folder; name a file in it")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction: committed to disk when the block ends, nothing if it raises."""
        if not self._shut.alive:
            raise Unavailable(f"{self.name}: the store is closed")
        with (
            self._mutex,
            in_words(self.name),
            _held(self._lock),
            self._writer.begin() as connection,
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; keep it short, an open one holds the checkpoint back."""
        if not self._shut.alive:
            raise Unavailable(f"{self.name}: the store is closed")
        with in_words(self.name), self._reader.begin() as connection:
            yield connection

    def scrub(self) -> None:
        """Rewrite the database without its free pages and empty the write-ahead log.

        `Unavailable` while a reader holds an old page; the same call can be made again. PostgreSQL
        rewrites its tables; its own log, backups and replicas forget by their own settings.
        """
        if not self._shut.alive:
            raise Unavailable(f"{self.name}: the store is closed")
        with self._mutex, in_words(self.name), _held(self._lock):
            if self._lock is None:
                with self._writer.connect() as connection:
                    alone = connection.execution_options(isolation_level="AUTOCOMMIT")
                    alone.exec_driver_sql("VACUUM FULL")
                return
            # Past SQLAlchemy, which begins a transaction where VACUUM bears none.
            raw = self._writer.raw_connection()
            try:
                cursor = raw.cursor()
                self._truncate(cursor)  # so that old pages reach the file, zeroed, before the copy
                cursor.execute("VACUUM")
                self._truncate(cursor)
            finally:
                raw.close()

    def _truncate(self, cursor: Any) -> None:
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise Unavailable(
                f"{self.name}: a reader holds old pages; stop the service or try again"
            )

    def close(self) -> None:
        """Let go of every connection; call it when the last read is done."""
        with self._mutex, in_words(self.name):
            self._shut()


def _held(lock: FileLock | None) -> AbstractContextManager[Any]:
    if lock is None:
        return nullcontext()
    try:
        return lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.002)
    except Timeout:
        raise Unavailable(
            f"{lock.lock_file}: held by another process for {LOCK_SECONDS:.0f} s; stop it first"
        ) from None
    except OSError as error:
        raise Unavailable(f"{lock.lock_file}: can't be locked ({error.strerror})") from error


def _dispose(owner: int, reader: Engine, writer: Engine, lock: FileLock | None) -> None:
    if os.getpid() != owner:  # a forked child: the connections are its parent's
        return
    with _held(lock):
        reader.dispose()
        writer.dispose()
