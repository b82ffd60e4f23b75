"""What the store promises when processes compete, die, or run out of disk."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import feedback_store
from feedback_store import Damaged, Refused, Store, Unavailable

HEADER = """
import sys
from feedback_store import Interaction, Message, Store, Unavailable
def row(id, size=20):
    return Interaction(id=id, messages=(Message(role="user", content="q"),), response="x" * size)
path, name = sys.argv[1:3]
store = Store.open(path)
"""

# Prints an id only once its row is committed.
WRITER = """
for n in range(int(sys.argv[3])):
    store.append(interactions=[row(f"{name}-{n}", 2000)])
    print(f"{name}-{n}", flush=True)
"""

# The limit is what the file system's own "full" looks like to a process: short, failing writes.
FULL_DISK = """
import os, resource
store.append(interactions=[row("first")])
size = max(os.path.getsize(path), os.path.getsize(path + "-wal"))
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50_000, resource.RLIM_INFINITY))
for n in range(50):
    try:
        store.append(interactions=[row(f"{n}-a", 10_000), row(f"{n}-b", 10_000)])
    except Unavailable as error:
        print(n, error, sep="|")
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.append(interactions=[row("after")])
"""


def child(code: str, *arguments: object) -> "subprocess.Popen[str]":
    root = str(Path(feedback_store.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", HEADER + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )


def finish(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and not err, err
    return out


def is_whole(path: Path | str) -> bool:
    if "://" in str(path):  # PostgreSQL checks its own pages, and its server was not killed
        return True
    connection = sqlite3.connect(path)
    try:
        found: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
        return found == "ok" and not connection.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        connection.close()


def test_two_processes_lose_nothing_and_share_one_sequence(where: str) -> None:
    path = where
    writers = [child(WRITER, path, name, 150) for name in ("left", "right")]
    for writer in writers:
        finish(writer)
    with Store.open(path) as store:
        rows = list(store.interactions())
        assert [row.seq for row in rows] == list(range(1, 301))
        assert {row.id for row in rows} == {
            f"{n}-{i}" for n in ("left", "right") for i in range(150)
        }
    assert is_whole(path)


def test_threads_share_a_store(store: Store, ask) -> None:
    def write(name: str) -> None:
        for n in range(40):
            store.append(interactions=[ask(f"{name}-{n}")])
            assert store.interaction(f"{name}-{n}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.seq for row in store.interactions()] == list(range(1, 161))


def test_a_full_disk_says_so_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    out = finish(child(FULL_DISK, path, "full"))
    failed, message = out.strip().split("|")
    assert str(path) in message and "disk" in message
    with Store.open(path) as store:
        whole = [f"{n}-{half}" for n in range(int(failed)) for half in "ab"]
        assert [row.id for row in store.interactions()] == ["first", *whole, "after"]
        assert store.watermark() == len(whole) + 2
    assert is_whole(path)


def test_a_store_left_open_is_closed_at_exit_and_quietly(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    finish(child('store.append(interactions=[row("a")])', path, "x"))
    # The last connection to close has checkpointed, so nothing is left beside the file.
    left = sorted(file.name for file in tmp_path.iterdir())
    assert left == ["s.db", "s.db.key", "s.db.lock", "s.db.lock.next"]


def test_readers_can_neither_write_nor_checkpoint(sqlite_store, ask, tmp_path: Path) -> None:
    store = sqlite_store
    store.append(interactions=[ask("a")])
    wal = tmp_path / "store.db-wal"
    before = wal.stat().st_size
    with pytest.raises(Unavailable), store._database.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert wal.stat().st_size == before > 0
    with pytest.raises(Unavailable, match="can't be written"), store._database.read() as connection:
        connection.exec_driver_sql("DELETE FROM interactions")


def test_commits_are_synced(sqlite_store: Store) -> None:
    with sqlite_store._database.write() as connection:
        read = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert read == ["wal", 2, 1]


def test_every_write_waits_for_the_lock_file(sqlite_store: Store, ask, monkeypatch) -> None:
    from filelock import FileLock

    store = sqlite_store
    monkeypatch.setattr("feedback_store.storage.database.LOCK_SECONDS", 0.05)
    with FileLock(f"{store._database.name}.lock"):
        with pytest.raises(Unavailable, match="held by another process"):
            store.append(interactions=[ask("a")])
        assert store.watermark() == 0  # reading needs no lock
    store.append(interactions=[ask("a")])


def test_what_is_not_a_store_is_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database " * 100)
    with pytest.raises(Damaged, match=r"notes\.txt: this is not a database"):
        Store.open(text)
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE songs (name)")
    connection.close()
    with pytest.raises(Damaged, match=r"not a feedback store \(it holds songs"):
        Store.open(other)
    with pytest.raises(Refused, match="a folder"):
        Store.open(tmp_path)
    with pytest.raises(Refused, match="must be a file"):
        Store.open("sqlite://")
    with pytest.raises(Unavailable, match="folder can't be made"):
        Store.open(text / "below" / "s.db")


def test_a_damaged_file_is_named(tmp_path: Path, ask) -> None:
    path = tmp_path / "s.db"
    with Store.open(path) as store:
        store.append(interactions=[ask(f"i{n}", response="x" * 3_000) for n in range(50)])
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xff" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    with pytest.raises(Damaged, match="damaged; restore a copy"), Store.open(path) as store:
        list(store.interactions())
        list(store.feedback())
