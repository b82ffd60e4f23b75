"""A backup is whole or absent, and what comes back goes on where the store stood."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import feedback_store
from feedback_store import (
    Damaged,
    NotFound,
    Policy,
    Refused,
    Release,
    SnapshotRules,
    Store,
    Unavailable,
    build_snapshot,
)
from feedback_store.keeping.backup import restore

ALL = SnapshotRules(held_out=0.0)

WRITER = """
import sys
from feedback_store import Feedback, Interaction, Message, Store
path, name = sys.argv[1:3]
store = Store.open(path)
for n in range(100_000):
    id = f"{name}-{n}"
    asked = (Message(role="user", content=f"q{n % 7}"),)
    store.append(
        interactions=[Interaction(id=id, messages=asked, response="x" * 2_000 + id)],
        feedback=[Feedback(interaction=id, voter=name, kind="thumb", value=1.0 - 2.0 * (n % 2))],
    )
    print(id, flush=True)
"""


def writer(path: Path, name: str) -> "subprocess.Popen[str]":
    root = str(Path(feedback_store.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )


def test_a_backup_under_writers_comes_back_elsewhere_and_goes_on(
    tmp_path: Path, ask, thumb
) -> None:
    path, kept = tmp_path / "here" / "s.db", tmp_path / "kept" / "b.zip"
    with Store.open(path) as store:
        writers = [writer(path, name) for name in ("left", "right")]
        try:
            said = [w.stdout.readline().strip() for w in writers for _ in range(60) if w.stdout]
            told: list[tuple[int, int]] = []
            manifest = store.backup(kept, advance=lambda done, total: told.append((done, total)))
        finally:
            for running in writers:
                running.kill()
                running.communicate()
        assert store.watermark() > manifest.watermark >= 2 * len(said)
        assert told and told[-1][0] == told[-1][1]
        assert [file.name for file in kept.parent.iterdir()] == ["b.zip"]
        assert kept.stat().st_mode & 0o077 == 0
        here = build_snapshot(store, tmp_path / "one", ALL, manifest.watermark)
    away = tmp_path / "away" / "s.db"
    assert restore(kept, away, tmp_path / "policies") == manifest
    with Store.open(away) as store:
        assert store.watermark() == manifest.watermark
        assert set(said) <= {row.id for row in store.interactions()}
        assert build_snapshot(store, tmp_path / "two", ALL) == here
        # The same voter is the same: a changed mind supersedes, it does not count twice.
        (first,) = [row for row in store.feedback() if row.interaction == "left-0"]
        store.append(feedback=[thumb("left-0", -1.0, voter="left", id="changed")])
        (live,) = [row for row in store.feedback() if row.interaction == "left-0"]
        assert (first.value, live.value, live.revision) == (1.0, -1.0, 2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A file: a database server has backups of its own."""
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def kept(store: Store, tmp_path: Path, ask, thumb) -> Path:
    """A backup of a store with a key and a champion."""
    folder = tmp_path / "runs" / "sft" / "adapter"
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"w" * 5_000)
    store.append(interactions=[ask("a")], feedback=[thumb("a")])
    for id in ("p0", "p1"):
        store.add_policy(Policy(id=id, kind="lora", base_model="m", path=str(folder)))
        store.add_release(Release(policy=id, action="promote"))
    store.backup(tmp_path / "b.zip")
    return tmp_path / "b.zip"


def test_the_key_and_the_champion_are_carried(store: Store, kept: Path, tmp_path: Path) -> None:
    manifest = restore(kept, tmp_path / "away.db", tmp_path / "policies")
    assert manifest.has_key and manifest.champions == ("p1",)
    key = tmp_path / "away.db.key"
    own = Path(f"{store._database.name}.key").read_bytes()
    assert key.read_bytes() == own and key.stat().st_mode & 0o077 == 0
    with Store.open(tmp_path / "away.db") as away:
        champion = away.champion()
        assert champion is not None and champion.path == str(tmp_path / "policies" / "p1")
        assert (Path(champion.path) / "weights.bin").read_bytes() == b"w" * 5_000
        assert away.policy("p0").path == str(tmp_path / "runs" / "sft" / "adapter")


def test_key_and_policies_can_stay_behind(store: Store, kept: Path, tmp_path: Path) -> None:
    manifest = store.backup(tmp_path / "bare.zip", key=False, policies=False)
    assert not manifest.has_key and manifest.champions == ()
    restore(tmp_path / "bare.zip", tmp_path / "away.db", tmp_path / "policies")
    assert not (tmp_path / "away.db.key").exists() and not (tmp_path / "policies").exists()


def test_nothing_is_overwritten(store: Store, kept: Path, tmp_path: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(Refused, match=r"b\.zip: exists already"):
        store.backup(kept)
    assert kept.read_bytes() == before
    for name in ("away.db", "away.db-wal", "away.db.key"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(Refused, match=f"{name}: exists already"):
            restore(kept, tmp_path / "away.db", tmp_path / "policies")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "policies" / "p1").mkdir(parents=True)
    (tmp_path / "policies" / "p1" / "weights.bin").write_text("mine")
    with pytest.raises(Refused, match="another file is in the way"):
        restore(kept, tmp_path / "away.db", tmp_path / "policies")
    assert not (tmp_path / "away.db").exists()


def test_a_champion_without_files_is_named(store: Store, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "sft" / "adapter" / "weights.bin").unlink()
    with pytest.raises(NotFound, match=r"policy p1: .* back up without policies"):
        store.backup(tmp_path / "c.zip")
    assert not (tmp_path / "c.zip").exists()


def rewritten(kept: Path, path: Path, **changes: bytes) -> Path:
    """The backup with other bytes under some names."""
    with zipfile.ZipFile(kept) as old, zipfile.ZipFile(path, "w") as new:
        for name in {*old.namelist(), *changes}:
            new.writestr(name, changes.get(name) or old.read(name))
    return path


def test_what_is_damaged_is_refused_whole(kept: Path, tmp_path: Path) -> None:
    away, policies = tmp_path / "away" / "s.db", tmp_path / "policies"
    with zipfile.ZipFile(kept) as archive:
        database, manifest = archive.read("store.db"), json.loads(archive.read("manifest.json"))
    flipped = bytearray(database)
    flipped[len(flipped) // 2] ^= 1
    path = rewritten(kept, tmp_path / "flipped.zip", **{"store.db": bytes(flipped)})
    with pytest.raises(Damaged, match=r"store\.db is not what was written"):
        restore(path, away, policies)
    path = rewritten(kept, tmp_path / "more.zip", **{"../../escaped": b"x"})
    with pytest.raises(Damaged, match="not those that its manifest names"):
        restore(path, away, policies)
    manifest["files"]["policies/p1/../../x"] = manifest["files"]["policies/p1/weights.bin"]
    hostile = {"manifest.json": json.dumps(manifest).encode(), "policies/p1/../../x": b"w" * 5_000}
    with pytest.raises(Damaged, match="not those that its manifest names"):
        restore(rewritten(kept, tmp_path / "hostile.zip", **hostile), away, policies)
    for cut in (10, len(kept.read_bytes()) // 2):
        (tmp_path / "cut.zip").write_bytes(kept.read_bytes()[:cut])
        with pytest.raises(Damaged, match="not a whole backup"):
            restore(tmp_path / "cut.zip", away, policies)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("notes.txt", "hello")
    with pytest.raises(Damaged, match="not a backup of a feedback store"):
        restore(tmp_path / "other.zip", away, policies)
    with pytest.raises(NotFound):
        restore(tmp_path / "nowhere.zip", away, policies)
    assert not policies.exists() and not list((tmp_path / "away").glob("*"))


def test_a_newer_backup_is_refused(store: Store, kept: Path, tmp_path: Path) -> None:
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.backup(tmp_path / "newer.zip")
    with pytest.raises(Unavailable, match=r"newer version \(revision 9999"):
        restore(tmp_path / "newer.zip", tmp_path / "away.db", tmp_path / "policies")
    assert not (tmp_path / "away.db").exists()


def test_a_failed_write_leaves_nothing(store: Store, kept: Path, tmp_path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        store.backup(tmp_path / "full" / "b.zip")
    with pytest.raises(Unavailable, match="No space left"):
        restore(kept, tmp_path / "full" / "s.db", tmp_path / "full" / "policies")
    left = [file for file in (tmp_path / "full").rglob("*") if file.is_file()]
    assert all("policies" in str(file) for file in left)
