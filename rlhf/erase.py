"""Take a person out: rows, copies, snapshots, the database's free pages; name what learned of them.

    written down → copies of the rows → rows → snapshots built again → what their runs said → pages
    → marked finished

Each step can be done again, so an erasure that was interrupted is completed by the same command. No
trainer works in the runs folder meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from feedback_store import (
    EmptySnapshot,
    ErasedSnapshot,
    Erasure,
    Person,
    Snapshot,
    SnapshotManifest,
    SnapshotRules,
    Store,
    Taint,
    Traces,
    build_snapshot,
)
from feedback_store.snapshots.building import abandoned_builds
from feedback_store.snapshots.manifest import MANIFEST
from feedback_store.snapshots.vote_index import forget
from rlhf.copies import Needles, default_places, find_copies, remove
from rlhf.files import sha256_file
from rlhf.lineage.ledger import Ledger, RunFacts, read_ledger
from rlhf.lineage.made import spread
from rlhf.lineage.rebuild import rebuild_command
from rlhf.lineage.taint import hashes, learned_from, of_exports
from rlhf.runs import trainer_lock

# In a run folder, what may repeat the rows that the run learned from.
_TOLD = ("samples.jsonl", "*.html", "wandb", "tensorboard")
_EXPORTS = {".json", ".jsonl", ".parquet", ".csv", ".gz"}


@dataclass(frozen=True)
class Scope:
    """Where to look: the store, the runs, more folders with exports; ids as they were given."""

    store: Store
    runs: Path
    also: Sequence[Path] = ()
    given: frozenset[str] = frozenset()

    def places(self) -> list[Path]:
        """The folders to search for copies."""
        return [*default_places(self.runs), *self.also]


@dataclass(frozen=True)
class Report:
    """What went, and what stands on it still."""

    erasure: str | None
    """None in a dry run."""
    finished_at: str | None
    rows: dict[str, int]
    copies: list[str]
    snapshots: dict[str, str | None]
    """Erased snapshots, and those built in their place."""
    tainted: list[dict[str, str]]
    """Policy, through what, and the command that makes it again."""
    releases: list[dict[str, Any]]
    """Releases of tainted policies, with whether each is a project's champion."""
    left: list[str]
    """What holds the person and is not for this command to remove."""

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return dict(self.__dict__)


def plan(scope: Scope, person: Person) -> Report:
    """What an erasure would take; of policies, all that may have learned from the person's rows."""
    store = scope.store
    ledger = read_ledger(store, scope.runs)
    first = store.first_numbers(person)
    seen = [s for s in ledger.snapshots.values() if _saw(s, first) and s.id not in ledger.erased]
    copies, left = _copies(scope, ledger, store.traces(person))
    roots = [t for s in seen for t in learned_from(ledger, "planned", s, {})]
    taints = spread(ledger.made, _by_policy([*roots, *_exported(ledger, "planned", copies)]))
    told = _told(scope, replace(ledger, taints=taints), "planned")
    return Report(
        erasure=None,
        finished_at=None,
        rows=store.belongings(person),
        copies=[str(path) for path in copies],
        snapshots={s.id: None for s in seen},
        left=[str(path) for path in left],
        **told,
    )


def erase(scope: Scope, person: Person) -> Report:
    """Take the person out of everything; raises and can be run again where a step fails."""
    store = scope.store
    with trainer_lock(scope.runs):
        erasure = store.begin_erasure(person)
        left: list[Path] = []
        if erasure.finished_at is None:
            erasure, left = _rows_and_copies(scope, erasure, person)
        ledger = read_ledger(store, scope.runs)
        stragglers = _rewrite_snapshots(scope, ledger, erasure)
        if erasure.finished_at is None or stragglers:
            _clear_runs(scope, erasure)
            store.scrub()
            counts = {"copies": len(erasure.copies), "snapshots": _erased_by(store, erasure)}
            erasure = store.finish_erasure(erasure, counts)
    return _report(scope, erasure, left)


def _rows_and_copies(scope: Scope, erasure: Erasure, person: Person) -> tuple[Erasure, list[Path]]:
    """Copies go first: once the rows are gone, nobody can tell what a copy of them looks like."""
    store = scope.store
    left: list[Path] = []
    if store.belongings(person):
        ledger = read_ledger(store, scope.runs)
        copies, left = _copies(scope, ledger, store.traces(person))
        store.taint(_exported(ledger, erasure.id, copies))
        erasure = store.note_copies(erasure, map(str, copies))
    for path in erasure.copies:
        remove(Path(path))
    return store.erase_rows(erasure, person), left


def _copies(scope: Scope, ledger: Ledger, traces: Traces) -> tuple[list[Path], list[Path]]:
    own = Path(scope.store.name)
    skip = [own.with_name(own.name + end) for end in ("", "-wal", "-shm", ".lock")]
    snapshots = [Path(s.path) for s in ledger.snapshots.values()]
    # Half a snapshot may hold anybody: it goes unread.
    places = {scope.runs / "snapshots", *(path.parent for path in snapshots)}
    killed = [path for place in sorted(places) for path in abandoned_builds(place)]
    needles = Needles(traces.model_copy(update={"ids": traces.ids | scope.given}))
    copies, left = find_copies(scope.places(), needles, [*skip, *snapshots, *killed])
    return [*killed, *copies], left


def _exported(ledger: Ledger, erasure: str, copies: Iterable[Path]) -> list[Taint]:
    files = [path for path in copies if path.suffix in _EXPORTS and path.is_file()]
    return of_exports(ledger, erasure, map(sha256_file, files))


def _saw(snapshot: Snapshot, first: dict[str, int]) -> bool:
    """Whether a snapshot was built from a store that held the person's rows."""
    return first.get(snapshot.project, snapshot.watermark + 1) <= snapshot.watermark


def _rewrite_snapshots(scope: Scope, ledger: Ledger, erasure: Erasure) -> int:
    """Build each snapshot that saw the person again without; returns how many there were."""
    store, rewritten = scope.store, 0
    for old in sorted(ledger.snapshots.values(), key=lambda s: (s.watermark, s.id)):
        without = old.manifest.get("erasures")
        done = old.id in ledger.erased or (isinstance(without, list) and erasure.id in without)
        if _saw(old, erasure.first) and not done:
            new = _rebuilt(store, old, scope.runs)
            erased = ErasedSnapshot(
                snapshot=old.id, erasure=erasure.id, replaced_by=new.id if new else None
            )
            files = hashes(new.document()) if new else {}
            store.replace_snapshot(erased, learned_from(ledger, erasure.id, old, files))
            rewritten += 1
    for erased in store.erased_snapshots().values():
        if erased.erasure == erasure.id and erased.snapshot in ledger.snapshots:
            _remove_snapshot(ledger.snapshots[erased.snapshot])
    return rewritten


def _rebuilt(store: Store, old: Snapshot, runs: Path) -> SnapshotManifest | None:
    """The same rules and watermark on what is left; None where that gives no row."""
    folder = Path(old.path).parent
    try:
        rules = SnapshotRules.model_validate(old.manifest["rules"])
        place = folder if folder.is_dir() else runs / "snapshots"
        return build_snapshot(store, place, rules, old.watermark)
    except (EmptySnapshot, ValidationError, KeyError):
        return None


def _remove_snapshot(snapshot: Snapshot) -> None:
    """Remove its folder, if that is still the one of this id."""
    folder = Path(snapshot.path)
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["id"]
    except (OSError, ValueError, KeyError, TypeError):
        found = folder.name  # half removed by a run that was interrupted
    if found == snapshot.id and folder.is_dir():
        remove(folder)
    forget(folder)


def _clear_runs(scope: Scope, erasure: Erasure) -> None:
    """Remove what runs on the erased snapshots told, and what tainted policies answered."""
    ledger = read_ledger(scope.store, scope.runs)
    gone = {s for s, e in ledger.erased.items() if e.erasure == erasure.id}
    tainted = {p for p, known in ledger.taints.items() if _by(known, erasure.id)}
    if not gone and not tainted:
        return
    for run in ledger.runs.values():
        if run.facts.get("snapshot") in gone or not run.known or _made_by(run) & tainted:
            for path in _tellers(run):
                remove(path)
    remove(scope.runs / "reference")  # log-probabilities of rows; computed again where needed


def _tellers(run: RunFacts) -> Iterator[Path]:
    """Unfinished runs lose their checkpoints as well: nothing is to go on from them."""
    for pattern in _TOLD if run.finished else (*_TOLD, "checkpoint-*", ".checkpoint-*"):
        yield from run.folder.glob(pattern)


def _made_by(run: RunFacts) -> set[Any]:
    return {run.facts.get(key) for key in ("policy", "candidate", "champion")}


def _by(taints: Iterable[Taint], erasure: str) -> bool:
    return any(taint.erasure == erasure for taint in taints)


def _erased_by(store: Store, erasure: Erasure) -> int:
    return sum(one.erasure == erasure.id for one in store.erased_snapshots().values())


def _by_policy(taints: Iterable[Taint]) -> dict[str, list[Taint]]:
    found: dict[str, list[Taint]] = {}
    for taint in taints:
        found.setdefault(taint.policy, []).append(taint)
    return found


def _report(scope: Scope, erasure: Erasure, left: Iterable[Path]) -> Report:
    ledger = read_ledger(scope.store, scope.runs)
    numbers = {name: n for name, n in erasure.counts.items() if isinstance(n, int)}
    return Report(
        erasure=erasure.id,
        finished_at=None if erasure.finished_at is None else str(erasure.finished_at),
        rows={k: n for k, n in numbers.items() if k not in ("copies", "snapshots")},
        copies=list(erasure.copies),
        snapshots={s: e.replaced_by for s, e in ledger.erased.items() if e.erasure == erasure.id},
        left=[str(path) for path in left],
        **_told(scope, ledger, erasure.id),
    )


def _told(scope: Scope, ledger: Ledger, erasure: str) -> dict[str, list[dict[str, Any]]]:
    """The tainted policies, parents first, and the releases of them."""
    tainted = [
        {
            "policy": made.id,
            "run": made.run,
            "through": taint.through,
            "source": taint.source,
            "rebuild": rebuild_command(ledger, scope.store, scope.runs, made),
        }
        for made in _parents_first(ledger)
        for taint in ledger.taints.get(made.id, ())
        if taint.erasure == erasure
    ]
    ids = {one["policy"] for one in tainted}
    last = {r.project: seq for seq, r in sorted(ledger.releases.items())}
    releases = [
        {
            "release": seq,
            "project": r.project,
            "policy": r.policy,
            "champion": last[r.project] == seq,
        }
        for seq, r in sorted(ledger.releases.items())
        if r.policy in ids
    ]
    return {"tainted": tainted, "releases": releases}


def _parents_first(ledger: Ledger) -> list[Any]:
    depth: dict[str, int] = {}
    for id in ledger.made:
        above, level = [id], 0
        while above and level < len(ledger.made):
            above = [s for a in above if a in ledger.made for _, s in ledger.made[a].sources()]
            level += 1
        depth[id] = level
    return sorted(ledger.made.values(), key=lambda made: (depth[made.id], made.id))
