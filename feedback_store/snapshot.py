"""Votes into an immutable data set: a folder of JSONL files and a manifest, named by its content.

    folder/<id>/  sft.jsonl  dpo.jsonl  kto.jsonl  prompts.jsonl      to train on
                  heldout_{dpo,kto,prompts,comparisons}.jsonl         to judge by
                  manifest.json                                       hashes, counts, rules

The folder is written aside, synced and renamed, so it is complete or absent; the same votes under
the same rules make the same bytes, in whatever order they came.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from feedback_store.errors import Conflict, Damaged, EmptySnapshot, NotFound, Refused, Unavailable
from feedback_store.evidence import Gathering
from feedback_store.manifest import MANIFEST, FileEntry, SnapshotManifest, SnapshotRules, canonical
from feedback_store.schema import Snapshot
from feedback_store.store import Store
from feedback_store.training_rows import Row, all_rows

_TRAINABLE = ("sft.jsonl", "dpo.jsonl", "kto.jsonl")


def build_snapshot(
    store: Store, folder: Path, rules: SnapshotRules, watermark: int | None = None
) -> SnapshotManifest:
    """Build the data set as of a watermark (by default now), in `folder/<id>`, and record it.

    Raises `EmptySnapshot` where no vote makes a row of SFT, DPO or KTO.
    """
    last = store.watermark()
    watermark = last if watermark is None else watermark
    if watermark > last:
        raise Refused(f"watermark {watermark} lies ahead of the store, which is at {last}")
    erasures = store.erasures_before(rules.project, watermark)
    gathered = Gathering(store, rules, watermark)
    rows = all_rows(gathered)
    if not any(rows[name] for name in _TRAINABLE):
        raise EmptySnapshot(_why_empty(gathered))
    files = {name: b"".join(row.line for row in found) for name, found in rows.items()}
    manifest = _manifest(gathered, rules, watermark, rows, files, erasures)
    if store.erasures_before(rules.project, watermark) != erasures:
        raise Conflict("rows were erased while the snapshot was built; build it again")
    path = folder / manifest.id
    if not path.exists():
        _write_folder(path, {**files, MANIFEST: canonical(manifest.document())})
    load_snapshot(path)
    store.add_snapshot(
        Snapshot(
            id=manifest.id,
            path=str(path),
            project=rules.project,
            watermark=watermark,
            counts={**manifest.counts, **{name: len(found) for name, found in rows.items()}},
            manifest=manifest.document(),
        )
    )
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
        if hashlib.sha256(_bytes(folder / name)).hexdigest() != entry.sha256:
            raise Damaged(f"{folder / name}: not what was written; {_REMEDY}")
    return manifest


_REMEDY = "delete the folder and build the snapshot again"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{path}: missing; {_REMEDY}") from None
    except OSError as error:
        raise Unavailable(f"{path}: can't be read ({error.strerror})") from error


def _manifest(
    gathered: Gathering,
    rules: SnapshotRules,
    watermark: int,
    rows: Mapping[str, list[Row]],
    files: Mapping[str, bytes],
    erasures: tuple[str, ...],
) -> SnapshotManifest:
    body = SnapshotManifest(
        id="unnamed",
        project=rules.project,
        watermark=watermark,
        rules=rules,
        files={
            name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), rows=len(rows[name]))
            for name, data in files.items()
        },
        counts=dict(sorted(gathered.counts.items())),
        dropped=_reasons(gathered),
        erasures=erasures,
    )
    return body.model_copy(update={"id": body.content_id()})


def _reasons(gathered: Gathering) -> dict[str, dict[str, int]]:
    counted = {
        where: {reason: count for reason, count in sorted(reasons.items()) if count}
        for where, reasons in sorted(gathered.dropped.items())
    }
    return {where: reasons for where, reasons in counted.items() if reasons}


def _why_empty(gathered: Gathering) -> str:
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
    aside = len(gathered.held_out.answers) + len(gathered.held_out.pairs)
    reasons += [f"{aside} answers and pairs held out"] if aside else []
    return f"{text} ({'; '.join(reasons)})" if reasons else f"{text}; collect some votes first"


def _write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        for name, data in files.items():
            with open(aside / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _sync(aside)
        # Fails where another build of the same snapshot was first: its bytes are the same.
        if not path.exists():
            os.rename(aside, path)
            _sync(path.parent)
    except OSError as error:
        if not (path / MANIFEST).is_file():
            raise Unavailable(f"{path}: can't be written ({error.strerror})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
