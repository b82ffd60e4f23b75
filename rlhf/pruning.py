"""Which run and snapshot folders nothing needs any more, and their removal.

Kept: what a release names, every ancestor of that, the newest few, what is unfinished, and all that
a kept one speaks of (the run of its parent, its snapshot, a reward model's folder). The store's
records of what goes stay, so lineage still tells what there was.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from feedback_store import Store
from feedback_store.snapshots.building import abandoned_builds
from rlhf.errors import StepFailed
from rlhf.lineage import ancestry
from rlhf.runs import MANIFEST, trainer_lock

_RUN = re.compile(r"(?P<stage>[a-z][a-z_+]*)-(?P<utc>\d{8}T\d{6}Z)-[0-9a-f]{8,64}")
_SNAPSHOT = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(
    r"[a-z][a-z_+]*-\d{8}T\d{6}Z-[0-9a-f]{8,64}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"
)
_DYING = ".pruning-"
# Where a run says what it stands on.
_SPEAKS = ("config.yaml", MANIFEST, "adapter/policy.json", "policy/policy.json")
_MOST = 4 << 20


@dataclass(frozen=True)
class Folder:
    """A run's or a snapshot's folder, its bytes, and why it stays (None: it goes)."""

    path: Path
    bytes: int
    kept: str | None


def plan(store: Store, runs: Path, last: int) -> list[Folder]:
    """Every run and snapshot folder, with the reason for which it is kept; what killed builds left
    has none.
    """
    folders = {path.name: path for path in _folders(runs)}
    reasons = dict(_roots(store, folders, last))
    spoken = {name: _spoken_of(path) for name, path in folders.items()}
    _follow(reasons, spoken)
    found = [Folder(path, _size(path), reasons.get(name)) for name, path in sorted(folders.items())]
    left = abandoned_builds(runs / "snapshots")
    return [*found, *(Folder(path, _size(path), None) for path in left)]


def prune(store: Store, runs: Path, last: int) -> list[Folder]:
    """Remove what `plan` lets go; a folder vanishes in one step and is then emptied.

    Raises `StepFailed` while a trainer works there, or where a folder can't be removed.
    """
    with trainer_lock(runs):
        folders = plan(store, runs, last)
        try:
            for folder in folders:
                if folder.kept is None:
                    os.rename(folder.path, folder.path.with_name(_DYING + folder.path.name))
            for left in [*runs.glob(f"{_DYING}*"), *runs.glob(f"snapshots/{_DYING}*")]:
                shutil.rmtree(left)
        except OSError as error:
            raise StepFailed(f"{error.filename}: can't be removed ({error.strerror})") from error
    return folders


def _folders(runs: Path) -> Iterator[Path]:
    """Only what looks like ours: a link or any other folder is nobody's to remove."""
    for parent, name in ((runs, _RUN), (runs / "snapshots", _SNAPSHOT)):
        for path in sorted(parent.glob("*")):
            if path.is_dir() and not path.is_symlink() and name.fullmatch(path.name):
                yield path


def _roots(store: Store, folders: Mapping[str, Path], last: int) -> Iterator[tuple[str, str]]:
    """What is kept by itself; of several reasons the last one given stands, the weightiest."""
    named = sorted((name for name in folders if _RUN.fullmatch(name)), key=_stamp)
    built = sorted(set(folders) - set(named), key=lambda name: folders[name].stat().st_mtime_ns)
    for newest in (named, built):
        for name in newest[max(0, len(newest) - last) :]:
            yield name, f"one of the last {last}"
    for name in named:
        if name.startswith("loop-"):
            yield name, "counts a loop's cycles"
        elif not (folders[name] / MANIFEST).exists():
            yield name, "unfinished"
    released = {release.policy for release in store.releases()}
    champions = {r.project: r.policy for r in store.releases()}
    decided = {d.candidate: d.run for d in store.decisions() if d.run}
    for why, ids in (
        ("an ancestor of a release", [p.id for id in released for p in ancestry(store, id)]),
        ("released", released),
        ("champion", champions.values()),
    ):
        for id in ids:
            policy = store.policy(id)
            lies = _run_of(Path(policy.path), folders)
            for stands_on in (lies, policy.run, decided.get(id), policy.snapshot):
                if stands_on in folders:
                    yield str(stands_on), why


def _stamp(name: str) -> tuple[str, str]:
    found = _RUN.fullmatch(name)
    return (found["utc"] if found else "", name)


def _run_of(path: Path, folders: Mapping[str, Path]) -> str | None:
    """The run in whose folder a policy lies."""
    return next((part for part in reversed(path.parts) if part in folders), None)


def _spoken_of(folder: Path) -> set[str]:
    """Names of runs and snapshots that a folder's own files, and its open cycles', tell of."""
    texts = [_text(folder / name) for name in _SPEAKS]
    texts += [
        text for path in folder.glob("cycle-*.json") if '"done": true' not in (text := _text(path))
    ]
    return {name for text in texts for name in _NAME.findall(text)}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _follow(reasons: dict[str, str], spoken: Mapping[str, Iterable[str]]) -> None:
    """Keep what a kept one speaks of, and what that speaks of in turn."""
    waiting = list(reasons)
    while waiting:
        by = waiting.pop()
        for name in spoken.get(by, ()):
            if name not in reasons and name in spoken:
                reasons[name] = f"needed by {by}"
                waiting.append(name)


def _size(folder: Path) -> int:
    """Bytes of its files; a link counts as itself."""
    return sum(
        (Path(root) / name).lstat().st_size for root, _, names in os.walk(folder) for name in names
    )
