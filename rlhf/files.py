"""Files that are whole or absent: written aside, flushed, renamed; checked by sha256."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlhf.errors import StepFailed

_canonical = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str
).encode


def canonical_json(value: object) -> str:
    """One spelling for equal values, for hashing."""
    return _canonical(value)


def script_json(value: object) -> str:
    """JSON that is safe in a page's script element: nothing in it opens or closes a tag."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def content_id(value: object, length: int = 12) -> str:
    """A short name for a value by its canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder, then the folders."""
    for root, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(root) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(root))


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step; a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StepFailed(f"{path}: could not be written ({error.strerror}); free disk?") from error
    sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """As `write_text`, readable JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=2, default=str)
    write_text(path, text + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """As `write_text`, one JSON object a line."""
    lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    write_text(path, "".join(lines))


def publish_folder(aside: Path, final: Path) -> None:
    """Move a finished folder to its name in one step; an existing one of that name is replaced."""
    sync_tree(aside)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)
    sync_folder(final.parent)
