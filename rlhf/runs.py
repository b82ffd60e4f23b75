"""Run folders: what went in, what was measured, what came out.

A run is named `<stage>-<utc>-<id>`; `id` is the hash of its inputs, so that a step is found again
by what it was asked to do, never by its time. A run is done when `manifest.json` is there and the
files that it lists have the sha256 it lists.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from rlhf import __version__
from rlhf.errors import StepFailed
from rlhf.files import content_id, sha256_file, write_json, write_jsonl, write_text

MANIFEST = "manifest.json"
BEGUN = "lineage.json"
_LOCK = ".trainer.lock"
_TOOLS = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


@contextmanager
def trainer_lock(root: Path) -> Iterator[None]:
    """One trainer at a time in a runs folder; a service beside it needs no lock.

    Raises `StepFailed` at once when another holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StepFailed(
            f"another trainer works in {root}; wait for it, or name another `runs` folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def trainer_since(root: Path) -> float | None:
    """When the trainer that works in a runs folder took its lock, in seconds since 1970.

    None where none works, or where the system doesn't tell (Linux does): asking the lock itself
    would keep out a trainer that begins just then.
    """
    try:
        lock = os.stat(root / _LOCK)
        held = Path("/proc/locks").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    place = f" {os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino} "
    works = any(place in line and "FLOCK" in line and "->" not in line for line in held.split("\n"))
    return lock.st_mtime if works else None


@dataclass(frozen=True)
class Run:
    """One execution of a stage in its folder."""

    folder: Path
    stage: str
    id: str

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the finished run wrote about itself; None while it is unfinished."""
        path = self.folder / MANIFEST
        if not path.exists():
            return None
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value

    def finished(self) -> bool:
        """Whether the run ended and its listed files are still the ones it wrote."""
        manifest = self.manifest
        return manifest is not None and all(
            (self.folder / name).exists() and sha256_file(self.folder / name) == digest
            for name, digest in manifest["files"].items()
        )

    def finish(self, result: Mapping[str, Any], files: Iterable[str]) -> dict[str, Any]:
        """Write the manifest last: from here on the run counts as done."""
        manifest = {
            "stage": self.stage,
            "id": self.id,
            "versions": code_versions(),
            "revision": code_revision(),
            "finished": now(),
            "files": {name: sha256_file(self.folder / name) for name in sorted(files)},
            **result,
        }
        write_json(self.folder / MANIFEST, manifest)
        return manifest

    def begin(self, facts: Mapping[str, Any]) -> None:
        """`lineage.json`: what the run learns from, known even if it never finishes."""
        if not (self.folder / BEGUN).exists():
            write_json(self.folder / BEGUN, dict(facts))

    def write_samples(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """`samples.jsonl`: what the policies said."""
        write_jsonl(self.folder / "samples.jsonl", rows)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`; a last line cut by a crash is left out."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                rows.append(json.loads(line))
        return rows


def open_run(root: Path, stage: str, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Run:
    """The run with these inputs: the one begun earlier, or a new folder with its `config.yaml`."""
    run_id = content_id({"stage": stage, **inputs})
    begun = sorted(root.glob(f"{stage}-*-{run_id}"))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = begun[0] if begun else root / f"{stage}-{stamp}-{run_id}"
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "config.yaml").exists():
        return Run(folder, stage, run_id)
    text = yaml.safe_dump(json.loads(json.dumps(config, default=str)), allow_unicode=True)
    write_text(folder / "config.yaml", text)
    return Run(folder, stage, run_id)


def discard(run: Run) -> None:
    """Remove what a damaged run left, keeping its configuration."""
    for path in run.folder.iterdir():
        if path.name == "config.yaml":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_versions() -> dict[str, str]:
    """This project's and its main libraries' versions, for manifests."""
    versions = {"rlhf-loop": __version__}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def code_revision() -> str | None:
    """The commit that this code was checked out at, with `+` where it was changed since.

    None where it is no checkout, as after an installation from a wheel.
    """
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")
