"""The store as a data set that `datasets` loads: Parquet tables, a card and a manifest.

    FOLDER/  README.md  manifest.json
             {interactions,feedback,comparisons}/train.parquet
             {sft,dpo,kto,prompts}/{train,test}.parquet

Written aside and renamed, so the folder is complete or absent; streamed, so memory doesn't grow
with the votes. The training tables are a snapshot's, so that an erasure finds what they hold.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from feedback_store import Store, redact
from feedback_store.reading.consented import (
    consented_comparisons,
    consented_feedback,
    consented_interactions,
)
from rlhf import __version__
from rlhf.errors import UsageError
from rlhf.exchange.card import dataset_card
from rlhf.exchange.tables import (
    COMPARISONS,
    FEEDBACK,
    INTERACTIONS,
    TRAINING,
    training_row,
    write_table,
)
from rlhf.files import publish_folder, sha256_file, write_json, write_text

FORMAT = 1
MANIFEST = "manifest.json"
_SPLITS = {"train": "", "test": "heldout_"}

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class ExportOptions:
    """What goes into an export."""

    project: str = "default"
    without_consent: bool = False
    """Also interactions that may not be trained on, and the votes on them."""
    snapshot: Path | None = None
    """A snapshot's folder, whose rows become the training tables."""
    snapshot_id: str | None = None
    """Its id."""
    replace: bool = False
    """Whether an earlier export may be replaced."""


def export(
    store: Store,
    folder: Path,
    options: ExportOptions,
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Write the folder; returns its manifest."""
    _refuse_what_is_there(folder, options.replace)
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    aside.mkdir(parents=True)
    try:
        upto = store.watermark()
        tables = _write_tables(store, aside, options, upto, advance)
        manifest = _manifest(aside, options, upto, tables)
        write_json(aside / MANIFEST, manifest)
        write_text(aside / "README.md", dataset_card(manifest))
        publish_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _refuse_what_is_there(folder: Path, replace: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MANIFEST).is_file() or not (folder / "README.md").is_file():
        raise UsageError(f"{folder}: exists and is no export; name another folder")
    if not replace:
        raise UsageError(f"{folder}: holds an export; name another folder or add --replace")


def _write_tables(
    store: Store, aside: Path, options: ExportOptions, upto: int, advance: Callable[[int], None]
) -> dict[str, dict[str, int]]:
    """Every table that has rows, with their number by split."""
    said: dict[str, dict[str, int]] = {}
    clean = _Cleaner()
    for name, (schema, read) in _RECORDED.items():
        rows = read(store, schema.names, options.project, upto, everyone=options.without_consent)
        counted = _counted(map(clean, _renamed(rows, name)), advance)
        said[name] = {"train": write_table(aside / name / "train.parquet", schema, counted)}
    for name, schema in TRAINING.items():
        said[name] = {}
        for split, prefix in _SPLITS.items():
            rows = _snapshot_rows(options.snapshot, f"{prefix}{name}.jsonl", schema)
            path = aside / name / f"{split}.parquet"
            said[name][split] = write_table(path, schema, _counted(map(clean, rows), advance))
    return _with_rows(aside, said)


def _renamed(rows: Rows, name: str) -> Rows:
    if name != "interactions":
        return rows
    return (
        {**row, "prompt": row["messages"], "sampling": json.dumps(row["sampling"], sort_keys=True)}
        for row in rows
    )


def _interactions(store: Store, names: list[str], *rest: Any, **more: Any) -> Iterator[Any]:
    columns = ["messages" if name == "prompt" else name for name in names]
    return consented_interactions(store, columns, *rest, **more)


_RECORDED: dict[str, tuple[pa.Schema, Callable[..., Rows]]] = {
    "interactions": (INTERACTIONS, _interactions),
    "feedback": (FEEDBACK, consented_feedback),
    "comparisons": (COMPARISONS, consented_comparisons),
}


def _snapshot_rows(snapshot: Path | None, name: str, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    path = None if snapshot is None else snapshot / name
    if path is None or not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield training_row(json.loads(line), schema)


def _with_rows(aside: Path, tables: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The splits that hold something; what is empty is taken away, `datasets` can't load it."""
    kept: dict[str, dict[str, int]] = {}
    for name, splits in tables.items():
        for split, rows in splits.items():
            if rows:
                kept.setdefault(name, {})[split] = rows
            else:
                (aside / name / f"{split}.parquet").unlink()
        if name not in kept:
            (aside / name).rmdir()
    return kept


def _counted(rows: Rows, advance: Callable[[int], None]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield row
        advance(1)


class _Cleaner:
    """Rows as they may leave: redacted by today's detectors, people under names of this export."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)  # thrown away: nobody can link two exports

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        cleaned = {name: _redacted(name, value) for name, value in row.items()}
        for name in ("voter", "user"):
            if cleaned.get(name) is not None:
                cleaned[name] = self._pseudonym(str(cleaned[name]))
        return cleaned

    def _pseudonym(self, person: str) -> str:
        return hmac.new(self._key, person.encode(), hashlib.sha256).hexdigest()[:16]


_PROSE = frozenset(
    ("prompt", "response", "completion", "chosen", "rejected", "text", "reasons", "content", "more")
)


def _redacted(name: str, value: Any) -> Any:
    """Texts are looked through again: detectors learn, and what is stored stays as it was."""
    if name not in _PROSE or value is None:
        return value
    if isinstance(value, str):
        return redact.redact(value)
    if isinstance(value, dict):
        return {key: _redacted(key, inner) for key, inner in value.items()}
    return [_redacted(name, inner) for inner in value]


def _manifest(
    aside: Path, options: ExportOptions, upto: int, tables: dict[str, dict[str, int]]
) -> dict[str, Any]:
    files = sorted(aside.rglob("*.parquet"))
    return {
        "format": FORMAT,
        "version": __version__,
        "project": options.project,
        "watermark": upto,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "without_consent": options.without_consent,
        "snapshot": options.snapshot_id,
        "tables": tables,
        "files": {path.relative_to(aside).as_posix(): sha256_file(path) for path in files},
    }
