"""One database: its connections, its lock, and its errors in words.

Writers come one after another, whichever the database: in SQLite by a lock file, in PostgreSQL by
an advisory lock that ends with the transaction. So numbers are given in the order of the commits,
and no two writers can deadlock.

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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from feedback_store.errors import Conflict, Damaged, Refused, StoreError, Unavailable
from feedback_store.storage.file_lock import LockTimeout, ProcessLock
from feedback_store.storage.group_commit import Again, Answer, GroupCommit, Request, Work

LOCK_SECONDS = 60.0

# Of the 2**63 advisory locks of a PostgreSQL database, the one that stands for writing votes.
_ADVISORY_LOCK: Final = 7_306_357_456_645_861_987
# Writers look single keys up. Told of no more than that a list of keys is coming, the planner would
# read whole tables until they are large.
_POSTGRES_TURN: Final = f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})" + "".join(
    f", set_config('enable_{plan}', 'off', true)" for plan in ("seqscan", "hashjoin", "mergejoin")
)
# SQLSTATEs of a transaction that was undone for the sake of another.
_UNDONE: Final = ("40001", "40P01")

# A page that many commits change is copied out of the log once a checkpoint: 16 MB of log, in place
# of SQLite's 4, halve what a batch of votes costs the disk. Each commit is on disk either way.
_LOG_PAGES: Final = 4_000

# What the driver says, what that is, and the way out.
_MEANINGS: tuple[tuple[str, type[StoreError], str], ...] = (
    ("is full", Unavailable, "the disk is full; free some space and send the same again"),
    ("disk i/o error", Unavailable, "the disk refuses to read or write; check space and quota"),
    ("not a database", Damaged, "this is not a database; name another file or restore a copy"),
    ("malformed", Damaged, "the file is damaged; restore a copy"),
    ("is locked", Unavailable, "another program holds the file; stop it or try again"),
    ("readonly", Unavailable, "the file can't be written; check its permissions"),
    ("unable to open", Unavailable, "the file can't be opened; check its folder and permissions"),
    ("no space left", Unavailable, "the server's disk is full; free some space and send it again"),
    ("lock timeout", Unavailable, "another writer holds the store; stop it or try again"),
    ("permission denied", Unavailable, "this user may not do that; grant it, or name another user"),
    ('database "', Unavailable, "no such database; make it with CREATE DATABASE"),
)


def meaning(error: Exception, name: str) -> StoreError:
    """The store's error for a driver's error about the database `name`."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    # PostgreSQL's further lines quote the row: none of that belongs in a log.
    cause = (str(origin).splitlines() or [type(origin).__name__])[0]
    if isinstance(error, IntegrityError):
        return Conflict(f"{name}: another writer was first ({cause}); send the same again")
    if getattr(origin, "sqlstate", None) in _UNDONE:
        return Again(f"{name}: undone for the sake of another writer; send the same again")
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


# Built once: json.dumps with settings of its own builds an encoder for every value.
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


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
            connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        # SQLite's own 2 MB are reread for every lookup in a large index.
        connection.execute("PRAGMA cache_size=-32768")
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


def _postgres_engine(url: URL) -> Engine:
    settings = {
        "synchronous_commit": "on",  # a server may be set up to acknowledge before the disk has it
        "lock_timeout": f"{LOCK_SECONDS * 1000:.0f}",
        "timezone": "UTC",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    try:
        return create_engine(
            url,
            connect_args={"options": options, "connect_timeout": 10},
            # Under the writers' lock each statement sees all that was committed before it.
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=60,
            json_serializer=_json,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise Refused(
            f"{url.drivername}: {error}; install it with pip install 'rlhf-loop[postgres]'"
        ) from error


def _locate(where: str | Path) -> tuple[URL, Path | None]:
    """The URL, and the file where it is SQLite."""
    text = str(where)
    try:
        is_url = isinstance(where, str) and "://" in text
        url = make_url(text) if is_url else URL.create("sqlite", database=text)
    except (ArgumentError, ValueError):
        scheme = text.partition("://")[0]  # what follows may hold a password
        raise Refused(f"{scheme}://...: not a database URL") from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg"), None
    if url.get_backend_name() == "postgresql":
        return url, None
    if url.get_backend_name() != "sqlite":
        raise Refused(f"{url.drivername}: votes are kept in SQLite or PostgreSQL")
    if url.database in (None, "", ":memory:"):
        raise Refused("the store must be a file: votes kept in memory are lost with the process")
    return url, Path(str(url.database)).absolute()


class Database:
    """Engines to read and to write with, and the lock around every write."""

    def __init__(self, where: str | Path) -> None:
        url, path = _locate(where)
        self.name = str(path) if path else url.render_as_string(hide_password=True)
        self._mutex = threading.Lock()
        self._lock: ProcessLock | None = None
        if path is None:
            self._writer: Engine = _postgres_engine(url)
            self._reader: Engine = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        else:
            self._make_room(path)
            self._lock = ProcessLock(f"{path}.lock")
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

    def group_commit(self, work: Work[Request, Answer]) -> GroupCommit[Request, Answer]:
        """Write transactions that the calls of several threads share."""
        return GroupCommit(self.write, work, lambda error: meaning(error, self.name))

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
            if self._lock is None:
                connection.exec_driver_sql(_POSTGRES_TURN)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; keep it short, an open one holds the checkpoint back."""
        if not self._shut.alive:
            raise Unavailable(f"{self.name}: the store is closed")
        with in_words(self.name), self._reader.begin() as connection:
            yield connection

    def copy_to(self, path: Path, pages: int, advance: Callable[[int, int], None]) -> None:
        """Copy an SQLite database to a new file as of one moment, while others write.

        One read transaction is held throughout, so no commit makes the copy begin again; the log
        grows until it ends. `advance(done, total)` is told after every so many pages.
        """
        if self._lock is None:
            raise Refused(
                f"{self.name}: a database server makes its own backups: `pg_dump --format=custom "
                "--file=FILE URL`, back with `pg_restore`; carry the key and the policies' folders"
            )
        with self.read() as connection, closing(sqlite3.connect(path)) as copy:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # the view begins here
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            source.backup(
                copy, pages=pages, progress=lambda _, left, total: advance(total - left, total)
            )

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


@contextmanager
def _held(lock: ProcessLock | None) -> Iterator[None]:
    with ExitStack() as stack:
        if lock is not None:
            try:
                stack.enter_context(lock.held(LOCK_SECONDS))
            except LockTimeout:
                raise Unavailable(
                    f"{lock.path}: held by another process for {LOCK_SECONDS:.0f} s; stop it first"
                ) from None
            except OSError as error:
                raise Unavailable(f"{lock.path}: can't be locked ({error.strerror})") from error
        yield


def _dispose(owner: int, reader: Engine, writer: Engine, lock: ProcessLock | None) -> None:
    if os.getpid() != owner:  # a forked child: the connections are its parent's
        return
    with _held(lock):
        reader.dispose()
        writer.dispose()
