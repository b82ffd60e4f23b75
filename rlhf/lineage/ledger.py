"""All that was ever made, in memory: policies and runs, with what each learned from.

The store knows the policies that may be released; run folders also know reward models, policies
that were trained without a store, and runs that never finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from feedback_store import Decision, ErasedSnapshot, Release, Snapshot, Store, Taint
from rlhf.lineage.made import ONLINE, Made, spread
from rlhf.runs import BEGUN, MANIFEST

_POLICY: Final = "adapter/policy.json"
_MOST_JSON: Final = 16_000_000
_MOST_YAML: Final = 1_000_000
# The same in C, where there is a compiler's work of it: ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class RunFacts:
    """A run's folder, with what it was begun on and what came out."""

    folder: Path
    facts: Mapping[str, Any]
    finished: bool

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def stage(self) -> str:
        """The first part of its name."""
        return self.name.partition("-")[0]

    @property
    def known(self) -> bool:
        """Whether it is told what the run learned from."""
        return self.finished or (self.folder / BEGUN).exists()

    def config(self) -> dict[str, Any]:
        """Its resolved settings; empty where they can't be read."""
        try:
            text = _read(self.folder / "config.yaml", _MOST_YAML)
            value = yaml.load(text, _Loader)
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Ledger:
    """Everything that a lineage walks along."""

    made: Mapping[str, Made]
    runs: Mapping[str, RunFacts]
    snapshots: Mapping[str, Snapshot]
    decisions: Mapping[str, Decision]
    releases: Mapping[int, Release]
    erased: Mapping[str, ErasedSnapshot] = field(default_factory=dict)
    taints: Mapping[str, list[Taint]] = field(default_factory=dict)

    def children(self, id: str) -> list[Made]:
        """What was made of a policy."""
        return self._children.get(id, [])

    def from_snapshot(self, id: str) -> list[Made]:
        """What learned from a snapshot."""
        return self._learners.get(id, [])

    @cached_property
    def decided_on(self) -> Mapping[str, list[Decision]]:
        """The gate's decisions by their candidate."""
        return _grouped(self.decisions.values(), lambda decision: [decision.candidate])

    @cached_property
    def released(self) -> Mapping[str, list[int]]:
        """The numbers of the releases by their policy."""
        return _grouped(self.releases, lambda seq: [self.releases[seq].policy])

    @cached_property
    def _children(self) -> Mapping[str, list[Made]]:
        return _grouped(self.made.values(), lambda made: {id for _, id in made.sources()})

    @cached_property
    def _learners(self) -> Mapping[str, list[Made]]:
        # The same id, where its rows came from a snapshot.
        return _grouped(self.made.values(), lambda made: {made.snapshot, made.data} - {None})


Thing = TypeVar("Thing")


def _grouped(
    things: Iterable[Thing], keys: Callable[[Thing], Iterable[str | None]]
) -> dict[str, list[Thing]]:
    found: dict[str, list[Thing]] = {}
    for thing in things:
        for key in keys(thing):
            found.setdefault(str(key), []).append(thing)
    return found


def read_ledger(store: Store, runs: Path) -> Ledger:
    """Read the store's registry and the run folders; a folder that can't be read is left out."""
    read = [_read_run(folder, _stamp(folder)) for folder in _folders(runs)]
    found = {run.name: run for run, _ in read}
    made = {policy.id: policy for _, policy in read if policy is not None}
    for policy in store.policies():
        known = made.get(policy.id)
        made[policy.id] = Made(
            id=policy.id,
            kind=policy.kind,
            base_model=policy.base_model,
            parent=policy.parent,
            snapshot=policy.snapshot,
            data=_text(policy.manifest.get("data")),
            run=policy.run,
            path=policy.path,
            rewards=known.rewards if known else (),
        )
    return Ledger(
        made=made,
        runs=found,
        snapshots={s.id: located(s, runs) for s in store.snapshots()},
        decisions={d.id: d for d in store.decisions(reports=False)},
        releases={int(r.seq or 0): r for r in store.releases()},
        erased=store.erased_snapshots(),
        taints=spread(made, store.taints()),
    )


def located(snapshot: Snapshot, runs: Path) -> Snapshot:
    """A snapshot with its path below `runs`, where the recorded one (relative, moved) isn't."""
    here = runs / "snapshots" / snapshot.id
    moved = not Path(snapshot.path).is_dir() and here.is_dir()
    return snapshot.model_copy(update={"path": str(here)}) if moved else snapshot


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (path for path in sorted(root.iterdir()) if (path / "config.yaml").is_file())


def _stamp(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Another one after anything that is read of a run was written."""
    return tuple(_stamp_of(folder / name) for name in ("config.yaml", BEGUN, MANIFEST, _POLICY))


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=20_000)
def _read_run(folder: Path, stamp: object) -> tuple[RunFacts, Made | None]:
    """A run and the policy in its folder; read once for each stamp, as a server asks often."""
    begun, manifest = _json(folder / BEGUN), _json(folder / MANIFEST)
    run = RunFacts(folder, {**begun, **manifest}, finished=bool(manifest))
    return run, _in_folder(run)


def _in_folder(run: RunFacts) -> Made | None:
    about = _json(run.folder / _POLICY)
    if not isinstance(about.get("id"), str):
        return None
    return Made(
        id=about["id"],
        kind=str(about.get("kind")),
        base_model=str(about.get("base_model")),
        parent=_text(about.get("parent")),
        snapshot=_text(about.get("snapshot")),
        data=_text(about.get("data")),
        run=run.name,
        path=str((run.folder / "adapter").resolve()),
        rewards=_reward_models(run),
    )


def _reward_models(run: RunFacts) -> tuple[str, ...]:
    """The reward models that a stage's rewards name by their folder."""
    if run.stage not in ONLINE:
        return ()
    rewards = run.config().get("rewards")
    named = [r.get("params") for r in rewards or () if isinstance(r, dict)]
    paths = [p["path"] for p in named if isinstance(p, dict) and isinstance(p.get("path"), str)]
    base = Path(str(run.facts.get("base") or "."))
    places = [place for path in paths for place in (base / path, Path(path))]
    ids = [_json(place / "policy.json").get("id") for place in places]
    return tuple(dict.fromkeys(id for id in ids if isinstance(id, str)))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read(path, _MOST_JSON))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read(path: Path, most: int) -> str:
    """A file's text; raises `ValueError` for one that is no plain file, or over `most` bytes."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path}: more than {most} bytes")
    return data.decode("utf-8")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
