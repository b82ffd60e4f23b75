"""`kill -9` of a writer at any moment: what it acknowledged is there, once, and nothing is torn."""

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import feedback_store
from feedback_store import Store

THREADS = 8

# Imports once, then forks a writer for each line "round seconds": several threads that vote, and
# say so on a pipe once the call has returned. Kills it that long after its first word.
NURSERY = """
import json, os, signal, sys, threading, time
from feedback_store import Feedback, Store

def write(where, round, out):
    store = Store.open(where)
    def vote(name):
        for n in range(1_000_000):
            id = f"{round}-{name}-{n}"
            store.append(feedback=[Feedback(
                id=id, interaction=f"i{n % 10}", voter=f"{round}-{name}", kind="thumb", value=1.0)])
            os.write(out, (id + chr(10)).encode())
    for name in range(int(sys.argv[2])):
        threading.Thread(target=vote, args=(name,)).start()

for line in sys.stdin:
    round, seconds = line.split()
    said, out = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(said)
        write(sys.argv[1], round, out)
        continue
    os.close(out)
    heard = os.read(said, 65536)
    time.sleep(float(seconds))
    os.kill(writer, signal.SIGKILL)
    while piece := os.read(said, 65536):
        heard += piece
    os.close(said)
    os.waitpid(writer, 0)
    print(json.dumps(heard.decode().split()), flush=True)
"""


@contextmanager
def nursery(where: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY, where, str(THREADS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(feedback_store.__file__).parents[1])},
    )
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def killed(process: "subprocess.Popen[str]", round: int, seconds: float) -> list[str]:
    """What a writer acknowledged before it was killed."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{round} {seconds}\n")
    process.stdin.flush()
    said: list[str] = json.loads(process.stdout.readline())
    return said


def is_whole(where: str) -> bool:
    if "://" in where:  # the server lives on, and its pages with it
        return True
    connection = sqlite3.connect(where)
    try:
        found: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
        return found == "ok" and not connection.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        connection.close()


def torture(where: str, rounds: int, ask) -> None:
    chance = random.Random(5)
    with Store.open(where) as store:
        store.append(interactions=[ask(f"i{n}") for n in range(10)])
    before = 10
    acknowledged: set[str] = set()
    with nursery(where) as process:
        for round in range(rounds):
            said = killed(process, round, chance.uniform(0.0, 0.15))
            assert len(said) == len(set(said)) > 0
            acknowledged.update(said)
            with Store.open(where) as store:
                kept = Counter(vote.id for vote in store.feedback(live=False, upto=None))
                watermark = store.watermark()
            assert not acknowledged - kept.keys()
            assert set(kept.values()) == {1}
            assert watermark == 10 + len(kept)
            # Each thread had at most one vote that was committed before it could say so.
            assert 0 <= watermark - before - len(said) <= THREADS
            before = watermark
            assert is_whole(where)


def test_a_killed_writer_loses_nothing_it_acknowledged(where: str, ask) -> None:
    torture(where, 5, ask)


@pytest.mark.slow
def test_two_hundred_killed_writers(where: str, ask) -> None:
    torture(where, 200, ask)
