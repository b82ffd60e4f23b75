"""All that was ever made, in memory: policies and runs, with what each learned from.

The store knows the policies that may be released; run folders also know reward models, policies
that were trained without a store, and runs that never finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from feedback_store import Decision, ErasedSnapshot, Release, Snapshot, Store, Taint
from rlhf.lineage.made import ONLINE, Made, spread
from rlhf.runs import BEGUN, MANIFEST


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
            value = yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
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
        return [m for m in self.made.values() if any(id == s for _, s in m.sources())]

    def from_snapshot(self, id: str) -> list[Made]:
        """What learned from a snapshot."""
        return [m for m in self.made.values() if id in (m.snapshot, m.data)]


def read_ledger(store: Store, runs: Path) -> Ledger:
    """Read the store's registry and the run folders; a folder that can't be read is left out."""
    found = {run.name: run for run in _runs(runs)}
    made = {m.id: m for m in (_in_folder(run) for run in found.values()) if m is not None}
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
        snapshots={s.id: _where_it_lies(s, runs) for s in store.snapshots()},
        decisions={d.id: d for d in store.decisions()},
        releases={int(r.seq or 0): r for r in store.releases()},
        erased=store.erased_snapshots(),
        taints=spread(made, store.taints()),
    )


def _where_it_lies(snapshot: Snapshot, runs: Path) -> Snapshot:
    """With its path below `runs`, where the recorded one (relative, or moved) is not there."""
    here = runs / "snapshots" / snapshot.id
    moved = not Path(snapshot.path).is_dir() and here.is_dir()
    return snapshot.model_copy(update={"path": str(here)}) if moved else snapshot


def _runs(root: Path) -> Iterator[RunFacts]:
    if not root.is_dir():
        return
    for folder in sorted(root.iterdir()):
        if (folder / "config.yaml").is_file():
            begun, manifest = _json(folder / BEGUN), _json(folder / MANIFEST)
            yield RunFacts(folder, {**begun, **manifest}, finished=bool(manifest))


def _in_folder(run: RunFacts) -> Made | None:
    about = _json(run.folder / "adapter" / "policy.json")
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
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
