"""Votes to hold rewards against: out of a store, a snapshot, a prepared folder or a file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from feedback_store import SnapshotRules, Store, load_snapshot
from feedback_store.snapshots.gathering import PARTITIONS, Gathering
from feedback_store.snapshots.manifest import MANIFEST
from feedback_store.snapshots.spool import Spool
from feedback_store.snapshots.training_rows import all_rows
from rlhf.data.records import Record, parse_record, read_records, split
from rlhf.errors import DataError, UnusableRow, UsageError
from rlhf.prepare.folder import HELD_OUT, TRAIN, is_prepared, verify

_SQLITE = b"SQLite format 3\0"
_VOTES = ("dpo", "kto")
_PREPARED = (TRAIN, HELD_OUT)


@dataclass(frozen=True)
class Votes:
    """What users said: pairs and single answers, those that training may see and the others."""

    seen: list[Record]
    held_out: list[Record]


def read_votes(where: str, held_out: float, project: str = "default") -> Votes:
    """All votes; `held_out` is the share of conversations that a file or store keeps aside.

    A snapshot and a prepared folder bring their own. Raises `DataError` where nobody voted.
    """
    seen, aside = _parts(where, held_out, project)
    votes = Votes(_voted(seen), _voted(aside))
    if not votes.seen and not votes.held_out:
        raise DataError(
            f"{where}: holds no votes; it needs pairs (`chosen`, `rejected`) or answers with a "
            "`label`"
        )
    return votes


def read_dialogues(path: Path) -> list[Record]:
    """Every answer of a file, a snapshot or a prepared folder, whatever was said of it."""
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the path")
    if not path.is_dir():
        return read_records(path)
    if is_prepared(path):
        verify(path)
    names = _PREPARED if is_prepared(path) else _snapshot_files(path, ("sft", *_VOTES))
    return [record for name in names for record in _records(path / name)]


def unseen(votes: Votes, share: float) -> Votes:
    """Of a file's votes only the conversations that training with that share kept aside."""
    every = [*votes.seen, *votes.held_out]
    _, aside = split(every, share)
    kept = {id(record) for record in aside}
    seen, held_out = ([r for r in part if id(r) in kept] for part in (votes.seen, votes.held_out))
    return Votes(seen, held_out)


def _parts(where: str, share: float, project: str) -> tuple[list[Record], list[Record]]:
    path = Path(where)
    if "://" in where or _is_sqlite(path):
        return _of_store(where, share, project)
    if not path.exists():
        raise UsageError(f"{where}: no such store, snapshot or file; check --votes")
    if not path.is_dir():
        return split(read_records(path), share)
    if is_prepared(path):
        verify(path)
        train, aside = (_records(path / name) for name in _PREPARED)
        return train, aside
    names = _snapshot_files(path, _VOTES)
    parts: tuple[list[Record], list[Record]] = ([], [])
    for name in names:
        parts[name.startswith("heldout_")].extend(_records(path / name))
    return parts


def _of_store(where: str, share: float, project: str) -> tuple[list[Record], list[Record]]:
    """As a snapshot of now would have them, with its weights and without what it leaves out."""
    parts: tuple[list[Record], list[Record]] = ([], [])
    rules = SnapshotRules(project=project, held_out=share)
    with (
        Store.open(where) as store,
        tempfile.TemporaryDirectory() as folder,
        Spool(Path(folder), PARTITIONS) as spool,
    ):
        for name, row in all_rows(Gathering(store, rules, store.watermark(), spool)):
            aside, kind = name.startswith("heldout_"), name.removeprefix("heldout_")
            if kind.removesuffix(".jsonl") in _VOTES:
                parts[aside].extend(_parsed(row.line, f"{where}: {name}"))
    for part in parts:  # rows come in no order, and folds are dealt by their order
        part.sort(key=lambda r: (r.conversation, r.source, r.chosen or r.completion or ""))
    return parts


def _parsed(line: bytes, where: str) -> Iterator[Record]:
    try:
        yield parse_record(json.loads(line), where)
    except UnusableRow:
        return


def _snapshot_files(folder: Path, kinds: Sequence[str]) -> list[str]:
    if not is_snapshot(folder):
        raise UsageError(f"{folder}: is neither a snapshot nor a prepared folder; check the path")
    manifest = load_snapshot(folder)
    names = [f"{aside}{kind}.jsonl" for kind in kinds for aside in ("", "heldout_")]
    return [name for name in names if name in manifest.files]


def is_snapshot(path: Path) -> bool:
    """Whether it is a folder that `rlhf snapshot build` made."""
    return (path / MANIFEST).is_file()


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _records(path: Path) -> list[Record]:
    return read_records(path) if path.stat().st_size else []


def _voted(records: Sequence[Record]) -> list[Record]:
    return [r for r in records if r.shape in ("preference", "unpaired") and r.weight > 0]
