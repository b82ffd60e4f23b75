"""What is told of each kind of thing: ids, counts and settings, never what a user wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback_store import NotFound, Release, Store, StoreError
from feedback_store.snapshots.vote_index import VoteIndex
from rlhf.lineage.ledger import Ledger, RunFacts
from rlhf.lineage.rebuild import rebuild_command

_SAMPLES = 5
_OF_ANSWER = ("project", "turn", "policy", "finish_reason", "style_used", "simulated", "consent")
_OF_VOTE = ("metric", "choice", "revision", "withdrawn", "simulated", "seq")

Indexes = Callable[[Path], VoteIndex | None]
"""The index of a snapshot's folder; None where it can't be had now."""


@dataclass(frozen=True)
class Facts:
    """Reads them from the store and the ledger; `brief` leaves a run's configuration out."""

    store: Store
    ledger: Ledger
    runs: Path
    indexes: Indexes
    brief: bool = False

    def of(self, kind: str, id: str) -> dict[str, Any]:
        """What is told of a thing; nothing of those that are no more than a name."""
        tell: Mapping[str, Callable[[str], dict[str, Any]]] = {
            "interaction": self._interaction,
            "feedback": self._vote,
            "comparison": self._vote,
            "snapshot": self._snapshot,
            "run": self._run,
            "policy": self._policy,
            "decision": self._decision,
            "release": lambda id: self._release(self.ledger.releases[int(id)]),
        }
        return tell[kind](id) if kind in tell else {}

    def votes_behind(self, id: str) -> dict[str, Any]:
        """How many votes a snapshot's rows rest on, and a few of them."""
        snapshot = self.ledger.snapshots.get(id)
        if snapshot is None or id in self.ledger.erased:
            return {}
        try:
            index = self.indexes(Path(snapshot.path))
            if index is None:
                return {"counting": True}
            return {"votes": index.count(), "votes_sample": index.sample(_SAMPLES)}
        except (StoreError, OSError):
            return {"missing": True}

    def _interaction(self, id: str) -> dict[str, Any]:
        row = self.store.interaction(id)
        told = row.model_dump(include=set(_OF_ANSWER))
        return {**told, "created_at": str(row.created_at), "seq": row.seq}

    def _vote(self, id: str) -> dict[str, Any]:
        try:
            vote = self.store.vote(id)
        except NotFound:  # erased or expired since
            return {"missing": True}
        return {**vote.model_dump(include=set(_OF_VOTE)), "created_at": str(vote.created_at)}

    def _snapshot(self, id: str) -> dict[str, Any]:
        snapshot = self.ledger.snapshots.get(id)
        facts: dict[str, Any] = {}
        if snapshot is not None:
            facts |= {
                "project": snapshot.project,
                "watermark": snapshot.watermark,
                "counts": dict(snapshot.counts),
                "path": snapshot.path,
            }
            if erasures := snapshot.manifest.get("erasures"):
                facts["without_erased"] = erasures
        if (erased := self.ledger.erased.get(id)) is not None:
            facts["erased"] = {"erasure": erased.erasure, "replaced_by": erased.replaced_by}
        return facts

    def _run(self, id: str) -> dict[str, Any]:
        run = self.ledger.runs[id]
        told = {"folder": str(run.folder), "finished": run.finished, "stage": run.stage}
        if self.brief:
            return told
        return {**told, "config": run.config(), "code": _code(run)}

    def _policy(self, id: str) -> dict[str, Any]:
        made = self.ledger.made.get(id)
        if made is None:
            return {"unknown": True}
        facts: dict[str, Any] = {"stage": made.stage, "run": made.run, "kind_of": made.kind}
        if taints := self.ledger.taints.get(id):
            facts["tainted"] = [taint.model_dump(exclude={"policy"}) for taint in taints]
            facts["rebuild"] = rebuild_command(self.ledger, self.store, self.runs, made)
        return facts

    def _decision(self, id: str) -> dict[str, Any]:
        decision = self.ledger.decisions[id]
        return {
            "promote": decision.promote,
            "candidate": decision.candidate,
            "champion": decision.champion,
            "reasons": list(decision.reasons),
            "run": decision.run,
        }

    def _release(self, release: Release) -> dict[str, Any]:
        facts = {
            "project": release.project,
            "policy": release.policy,
            "previous": release.previous,
            "action": release.action,
            "reason": release.reason,
            "created_at": str(release.created_at),
        }
        return facts | ({"tainted": True} if release.policy in self.ledger.taints else {})


def _code(run: RunFacts) -> dict[str, Any]:
    versions = run.facts.get("versions")
    return {
        "revision": run.facts.get("revision"),
        **(versions if isinstance(versions, dict) else {}),
    }
