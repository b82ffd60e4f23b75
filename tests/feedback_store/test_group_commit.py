"""Many threads, one commit: undone by nobody's mistake, on disk before anybody's answer."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

import feedback_store
from feedback_store import Conflict, NotFound, Store, StoreError, Unavailable
from feedback_store.storage.file_lock import LockTimeout, ProcessLock
from feedback_store.storage.group_commit import Again


@contextmanager
def commits_of(store: Store) -> Iterator[list[None]]:
    seen: list[None] = []

    def count(connection: object) -> None:
        seen.append(None)

    event.listen(store._database._writer, "commit", count)
    yield seen
    event.remove(store._database._writer, "commit", count)


def all_at_once(store: Store, calls: list[Callable[[], object]]) -> list[object]:
    """Each call's answer or error, where all came while another transaction was under way."""
    answers: list[object] = [None] * len(calls)

    def run(place: int) -> None:
        try:
            answers[place] = calls[place]()
        except StoreError as error:
            answers[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    with store._database._mutex:
        for thread in threads:
            thread.start()
        while len(store._writes._waiting) < len(calls):
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    return answers


def test_calls_that_come_together_share_one_commit(store: Store, ask, thumb) -> None:
    store.append(interactions=[ask("a")])
    votes = [thumb("a", voter=f"v{n}") for n in range(20)]
    with commits_of(store) as commits:
        answers = all_at_once(store, [lambda v=v: store.append(feedback=[v]) for v in votes])
        assert len(commits) == 1
    assert answers == [21] * 20
    assert {vote.id for vote in store.feedback()} == {vote.id for vote in votes}


def test_a_refused_row_leaves_its_neighbours_alone(store: Store, ask, thumb) -> None:
    store.append(interactions=[ask("a")], feedback=[thumb("a", id="taken")])
    rows = [thumb("a", voter=f"v{n}") for n in range(6)]
    rows[2] = thumb("nowhere")
    rows[4] = thumb("a", -1.0, id="taken")
    with commits_of(store) as commits:
        answers = all_at_once(store, [lambda r=r: store.append(feedback=[r]) for r in rows])
        assert len(commits) == 1
    assert isinstance(answers[2], NotFound) and isinstance(answers[4], Conflict)
    assert all(isinstance(answers[n], int) for n in (0, 1, 3, 5))
    kept = list(store.feedback(live=False))
    voters = {store.pseudonym(name) for name in ("ann", "v0", "v1", "v3", "v5")}
    assert sorted(vote.voter for vote in kept) == sorted(voters)
    # No number is burnt, and each answer covers its own row.
    assert [vote.seq for vote in kept] == [2, 3, 4, 5, 6] and store.watermark() == 6
    covered = {vote.voter: vote.seq for vote in kept}
    assert all(answers[n] >= covered[store.pseudonym(f"v{n}")] for n in (0, 1, 3, 5))


def test_a_commit_that_fails_fails_for_all(store: Store, ask, thumb) -> None:
    store.append(interactions=[ask("a")])

    def full(connection: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    event.listen(store._database._writer, "commit", full)
    calls = [lambda n=n: store.append(feedback=[thumb("a", voter=f"v{n}")]) for n in range(5)]
    errors = all_at_once(store, calls)
    event.remove(store._database._writer, "commit", full)
    assert [type(error) for error in errors] == [Unavailable] * 5
    assert all("disk is full" in str(error) for error in errors)
    assert len({id(error) for error in errors}) == 5  # a traceback belongs to one thread
    assert list(store.feedback()) == []
    assert store.append(feedback=[thumb("a")]) == 2  # and the store lives on


def test_what_was_undone_for_another_writer_is_tried_again(store: Store) -> None:
    tries: list[int] = []

    def work(connection: object, requests: list[str]) -> list[str]:
        tries.append(len(tries))
        if len(tries) < 3:
            raise Again("undone")
        return requests

    group = store._database.group_commit(work)
    assert group.submit("hello", 1) == "hello"

    def never(connection: object, requests: list[str]) -> list[str]:
        raise Again("undone for the sake of another writer")

    with pytest.raises(Unavailable, match="another writer"):
        store._database.group_commit(never).submit("hello", 1)


def test_the_lock_goes_to_who_came_first(tmp_path: Path) -> None:
    order: list[str] = []

    def take(name: str) -> None:
        with ProcessLock(tmp_path / "lock").held(10):
            order.append(name)

    threads = [threading.Thread(target=take, args=(name,)) for name in "abcd"]
    with ProcessLock(tmp_path / "lock").held(1):
        for thread in threads:
            thread.start()
            time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert order == list("abcd")


def test_a_lock_that_comes_too_late_is_given_back(tmp_path: Path) -> None:
    with ProcessLock(tmp_path / "lock").held(1):
        for _ in range(3):
            with pytest.raises(LockTimeout), ProcessLock(tmp_path / "lock").held(0.02):
                pass
    with ProcessLock(tmp_path / "lock").held(1):
        pass


# Each thread says when it begins to store a vote and when the store has acknowledged it.
TRACED = """
import os, sys, threading
from feedback_store import Feedback, Interaction, Message, Store
store = Store.open(sys.argv[1])
store.append(interactions=[
    Interaction(id="a", messages=(Message(role="user", content="q"),), response="r")])
def vote(name):
    for n in range(10):
        row = Feedback(id=f"{name}-{n}", interaction="a", voter=name, kind="thumb", value=1.0)
        os.write(1, f"began {name}-{n}".encode())
        store.append(feedback=[row])
        os.write(1, f"done {name}-{n}".encode())
threads = [threading.Thread(target=vote, args=(f"t{t}",)) for t in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("threads", [1, 6])
def test_an_fsync_ends_before_each_acknowledgement(tmp_path: Path, threads: int) -> None:
    trace = tmp_path / "trace"
    root = str(Path(feedback_store.__file__).parents[1])
    strace = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync,write"]
    child = [sys.executable, "-c", TRACED, str(tmp_path / "s.db"), str(threads)]
    done = subprocess.run(
        [*strace, *child], capture_output=True, env={**os.environ, "PYTHONPATH": root}
    )
    if b"ptrace" in done.stderr and b"not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    synced: dict[str, bool] = {}
    under_way: dict[str, list[str]] = {}  # by thread: the votes that had begun before its sync
    acknowledged = syncs = 0
    for line in trace.read_text().splitlines():
        process, call = line.split(maxsplit=1)
        if re.match(r"f(data)?sync\(\d+<.*s\.db-wal>", call):
            under_way[process] = list(synced)
        if process in under_way and call.endswith("= 0"):  # at once, or "resumed" later
            syncs += 1
            synced |= dict.fromkeys(under_way.pop(process), True)
        elif said := re.search(r'"(began|done) (t\d-\d)"', call):
            if said[1] == "began":
                synced[said[2]] = False
            else:
                assert synced[said[2]], f"{said[2]} was acknowledged before it was on disk"
                acknowledged += 1
    assert acknowledged == 10 * threads
    assert threads == 1 or syncs < acknowledged
