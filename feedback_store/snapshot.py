"""Votes into an immutable data set: a folder of JSONL files and a manifest, named by its content.

    folder/<id>/  sft.jsonl  dpo.jsonl  kto.jsonl  prompts.jsonl      to train on
                  heldout_{dpo,kto,prompts,comparisons}.jsonl         to judge by
                  manifest.json                                       hashes, counts, rules

The folder is written aside, synced and renamed, so it is complete or absent; the same votes under
the same rules make the same bytes, in whatever order they came.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from feedback_store.errors import Conflict, Damaged, EmptySnapshot, NotFound, Refused, Unavailable
from feedback_store.schema import Snapshot
from feedback_store.snapshots import gathering, row_files
from feedback_store.snapshots.building import building
from feedback_store.snapshots.manifest import (
    MANIFEST,
    FileEntry,
    SnapshotManifest,
    SnapshotRules,
    canonical,
)
from feedback_store.snapshots.row_files import FILES, RowFiles
from feedback_store.snapshots.spool import Spool
from feedback_store.snapshots.training_rows import all_rows
from feedback_store.storage.disk import sync
from feedback_store.store import Store
from feedback_store.trust import Trust
from feedback_store.trust.judgement import QUARANTINED

_TRAINABLE = ("sft.jsonl", "dpo.jsonl", "kto.jsonl")


def build_snapshot(
    store: Store, folder: Path, rules: SnapshotRules, watermark: int | None = None
) -> SnapshotManifest:
    """Build the data set as of a watermark (by default now), in `folder/<id>`, and record it.

    Neither the votes nor the rows are ever in memory together: they are put aside in unnamed files
    in the folder. Raises `EmptySnapshot` where no vote makes a row of SFT, DPO or KTO.
    """
    last = store.watermark()
    watermark = last if watermark is None else watermark
    if watermark > last:
        raise Refused(f"watermark {watermark} lies ahead of the store, which is at {last}")
    erasures = store.erasures_before(rules.project, watermark)
    with building(folder) as aside:
        manifest, trust = _build(store, aside, rules, watermark, erasures)
        if store.erasures_before(rules.project, watermark) != erasures:
            raise Conflict("rows were erased while the snapshot was built; build it again")
        path = folder / manifest.id
        _move(aside, path)
    load_snapshot(path)
    rows = {name: entry.rows for name, entry in manifest.files.items()}
    store.add_snapshot(
        Snapshot(
            id=manifest.id,
            path=str(path),
            project=rules.project,
            watermark=watermark,
            counts={**manifest.counts, **rows},
            manifest=manifest.document(),
        )
    )
    by_itself = {seq: why for seq, why in trust.reasons.items() if why != QUARANTINED}
    store.note_held(rules.project, watermark, by_itself)
    return manifest


def load_snapshot(folder: Path) -> SnapshotManifest:
    """The manifest of a snapshot whose every byte is as it was written, or `Damaged`."""
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such snapshot")
    path = folder / MANIFEST
    try:
        manifest = SnapshotManifest.model_validate_json(_bytes(path))
    except ValidationError as error:
        raise Damaged(f"{path}: not a snapshot's manifest; {_REMEDY}") from error
    if manifest.content_id() != manifest.id:
        raise Damaged(f"{path}: its contents don't hash to its id {manifest.id}; {_REMEDY}")
    for name, entry in manifest.files.items():
        if _digest(folder / name) != entry.sha256:
            raise Damaged(f"{folder / name}: not what was written; {_REMEDY}")
    return manifest


_REMEDY = "delete the folder and build the snapshot again"


def _bytes(path: Path) -> bytes:
    with _readable(path):
        return path.read_bytes()


def _digest(path: Path) -> str:
    with _readable(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Damaged(f"{path}: missing; {_REMEDY}") from None
    except OSError as error:
        raise Unavailable(f"{path}: can't be read ({error.strerror})") from error


def _build(
    store: Store, aside: Path, rules: SnapshotRules, watermark: int, erasures: tuple[str, ...]
) -> tuple[SnapshotManifest, Trust]:
    with Spool(aside, row_files.PARTITIONS) as sorting:
        files = RowFiles(rules, sorting)
        with Spool(aside, gathering.PARTITIONS) as dealing:
            gathered = gathering.Gathering(store, rules, watermark, dealing)
            for name, row in all_rows(gathered):
                files.add(name, row)
        for name in FILES:
            gathered.dropped[name]["over_budget"] = files.over_budget(name)
        if not any(files.rows(name) for name in _TRAINABLE):
            raise EmptySnapshot(_why_empty(gathered))
        body = SnapshotManifest(
            id="unnamed",
            project=rules.project,
            watermark=watermark,
            rules=rules,
            files={
                name: FileEntry(
                    sha256=_write(aside / name, files.lines(name)), rows=files.rows(name)
                )
                for name in FILES
            },
            counts=dict(sorted(gathered.counts.items())),
            dropped=_reasons(gathered),
            erasures=erasures,
        )
    manifest = body.model_copy(update={"id": body.content_id()})
    _write(aside / MANIFEST, [canonical(manifest.document())])
    return manifest, gathered.trust


def _reasons(gathered: gathering.Gathering) -> dict[str, dict[str, int]]:
    counted = {
        where: {reason: count for reason, count in sorted(reasons.items()) if count}
        for where, reasons in sorted(gathered.dropped.items())
    }
    return {where: reasons for where, reasons in counted.items() if reasons}


def _why_empty(gathered: gathering.Gathering) -> str:
    counts = gathered.counts
    votes = sum(counts[kind] for kind in ("thumb", "rating", "correction", "comparison"))
    text = (
        f"project {gathered.rules.project}: nothing to train on in "
        f"{counts['interactions']} interactions and {votes} votes"
    )
    reasons = [
        f"{count} {where.removesuffix('.jsonl')} {reason.replace('_', ' ')}"
        for where, found in _reasons(gathered).items()
        for reason, count in found.items()
    ]
    reasons += [f"{counts[name]} {name}" for name in ("ties", "neutral") if counts[name]]
    reasons += [f"{gathered.aside} answers and pairs held out"] if gathered.aside else []
    return f"{text} ({'; '.join(reasons)})" if reasons else f"{text}; collect some votes first"


def _write(path: Path, lines: Iterable[bytes]) -> str:
    """Write a file to the disk; returns its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb", buffering=2**20) as file:
        for line in lines:
            digest.update(line)
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _move(aside: Path, path: Path) -> None:
    sync(aside)
    if path.exists():
        return
    try:
        os.rename(aside, path)
    except OSError:
        # Another build of the same snapshot was first: its bytes are the same.
        if not (path / MANIFEST).is_file():
            raise
    sync(path.parent)
