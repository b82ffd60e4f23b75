"""The folder that comes out: rows, rejects, report and manifest, each by its sha256.

FOLDER/  train.jsonl  held_out.jsonl  rejected.jsonl
         report.json  report.html  config.yaml  manifest.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rlhf.config import redacted_dump
from rlhf.errors import DataError, UsageError
from rlhf.evaluation.coverage_page import write_coverage
from rlhf.files import sha256_file, write_json, write_text
from rlhf.prepare.settings import PrepareConfig
from rlhf.runs import MANIFEST, code_revision, code_versions

KIND = "rlhf-data"
TRAIN, HELD_OUT, REJECTED = "train.jsonl", "held_out.jsonl", "rejected.jsonl"


class Folder:
    """The folder while it is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.train, self.held_out, self.rejected = (
            (path / name).open("wb") for name in (TRAIN, HELD_OUT, REJECTED)
        )

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.train, self.held_out, self.rejected):
            file.close()


def finish(
    folder: Path,
    title: str,
    config: PrepareConfig,
    report: Mapping[str, Any],
    sources: Mapping[str, str],
) -> None:
    """Report, configuration and, last, the manifest."""
    rules = redacted_dump(config)
    text = yaml.safe_dump(rules, allow_unicode=True, sort_keys=False)
    write_text(folder / "config.yaml", text)
    write_json(folder / "report.json", report)
    write_coverage(folder / "report.html", report["coverage"], title=title)
    manifest = {
        "kind": KIND,
        "files": {path.name: sha256_file(path) for path in sorted(folder.iterdir())},
        "rows": report["rows"],
        "sources": dict(sources),
        "rules": rules,
        "versions": code_versions(),
        "revision": code_revision(),
    }
    write_json(folder / MANIFEST, manifest)


def is_prepared(folder: Path) -> bool:
    """Whether a folder is one that was made here."""
    return _manifest(folder).get("kind") == KIND


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose every file is as it was written, or `DataError`."""
    manifest = _manifest(folder)
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != digest:
            raise DataError(f"{path}: isn't the file that was written; prepare the data again")
    return manifest


def refuse_what_is_there(out: Path) -> None:
    """Only an empty folder or an earlier preparation may be replaced."""
    if out.exists() and not (out.is_dir() and (is_prepared(out) or not any(out.iterdir()))):
        raise UsageError(f"{out}: holds something else; name another folder with --out")


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
