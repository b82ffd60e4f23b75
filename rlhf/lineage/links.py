"""From a thing one step on: back to what it was made of, forward to what it went into.

interaction ─ vote ─ snapshot ─ run ─ policy ─ gate decision ─ release
     └──────────── answered by a policy ──┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedback_store import Interaction, Store
from rlhf.lineage.facts import Indexes
from rlhf.lineage.ledger import Ledger
from rlhf.lineage.made import Made

_RECENT = 2_000
_MOST_VOTES = 1_000
_SAMPLES = 5


@dataclass(frozen=True)
class Link:
    """The next thing; `facts` are of this step, and a `leaf` isn't walked on from."""

    kind: str
    id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    leaf: bool = False


@dataclass(frozen=True)
class Links:
    """Finds them; `brief` counts no more of the store than a page can wait for."""

    store: Store
    ledger: Ledger
    indexes: Indexes
    brief: bool = False

    def behind(self, kind: str, id: str) -> list[Link]:
        """What a thing was made of."""
        follow: dict[str, Callable[[str], Iterator[Link]]] = {
            "interaction": self._behind_interaction,
            "feedback": self._behind_vote,
            "comparison": self._behind_vote,
            "run": self._behind_run,
            "policy": self._behind_policy,
            "decision": self._behind_decision,
            "release": self._behind_release,
        }
        return list(follow[kind](id)) if kind in follow else []

    def ahead(self, kind: str, id: str) -> list[Link]:
        """Everything that a thing went into."""
        follow: dict[str, Callable[[str], Iterator[Link]]] = {
            "interaction": self._after_interaction,
            "feedback": self._after_vote,
            "comparison": self._after_vote,
            "snapshot": self._after_snapshot,
            "run": self._after_run,
            "policy": self._after_policy,
            "decision": self._after_decision,
            "release": self._after_release,
        }
        return list(follow[kind](id)) if kind in follow else []

    def _behind_interaction(self, id: str) -> Iterator[Link]:
        if (policy := self.store.interaction(id).policy) is not None:
            yield Link("policy", policy)

    def _behind_vote(self, id: str) -> Iterator[Link]:
        vote = self.store.vote(id)
        for one in (vote.interaction,) if hasattr(vote, "interaction") else vote.pair:
            yield Link("interaction", one)

    def _behind_run(self, id: str) -> Iterator[Link]:
        facts = self.ledger.runs[id].facts
        if isinstance(snapshot := facts.get("snapshot"), str):
            yield Link("snapshot", snapshot)
        for key in ("parent", "candidate", "champion"):
            if isinstance(policy := facts.get(key), str) and policy in self.ledger.made:
                yield Link("policy", policy)

    def _behind_policy(self, id: str) -> Iterator[Link]:
        made = self.ledger.made.get(id)
        if made is None:
            return
        if made.run in self.ledger.runs:
            yield Link("run", str(made.run), leaf=True)
        if made.snapshot is not None:
            yield Link("snapshot", made.snapshot)
        elif made.data is not None:
            yield Link("file", made.data)
        for _, source in made.sources():
            yield Link("policy", source)
        if made.parent is None:
            yield Link("base", made.base_model)

    def _behind_decision(self, id: str) -> Iterator[Link]:
        decision = self.ledger.decisions[id]
        if decision.run in self.ledger.runs:
            yield Link("run", str(decision.run), leaf=True)
        for policy in (decision.candidate, decision.champion):
            if policy is not None:
                yield Link("policy", policy)

    def _behind_release(self, id: str) -> Iterator[Link]:
        policy = self.ledger.releases[int(id)].policy
        yield Link("policy", policy)
        for decision in self.ledger.decided_on.get(policy, ()):
            if decision.promote:
                yield Link("decision", decision.id, leaf=True)

    def _after_interaction(self, id: str) -> Iterator[Link]:
        row = self.store.interaction(id)
        votes = self.store.votes_on(id, most=_MOST_VOTES if self.brief else None)
        yield from (Link(kind, vote, leaf=True) for kind, vote in votes)
        yield from self._snapshots([vote for _, vote in votes], row.project, row.seq or 0, row)

    def _after_vote(self, id: str) -> Iterator[Link]:
        vote = self.store.vote(id)
        about = vote.interaction if hasattr(vote, "interaction") else vote.a
        project = self.store.interaction(about).project
        yield from self._snapshots([id], project, vote.seq or 0, None)

    def _snapshots(
        self, votes: list[str], project: str, seq: int, asked: Interaction | None
    ) -> Iterator[Link]:
        """The snapshots whose rows rest on these votes or, for an interaction, hold its prompt."""
        for snapshot in self.ledger.snapshots.values():
            folder = Path(snapshot.path)
            if snapshot.project != project or snapshot.watermark < seq or not folder.is_dir():
                continue
            if (index := self.indexes(folder)) is None:
                continue
            files = index.files_with(votes)
            if asked is not None and index.has_prompt(asked.messages):
                files["prompts.jsonl"] = 1
            if files:
                yield Link("snapshot", snapshot.id, {"in_files": files})

    def _after_snapshot(self, id: str) -> Iterator[Link]:
        erased = self.ledger.erased.get(id)
        if erased is not None and erased.replaced_by is not None:
            yield Link("snapshot", erased.replaced_by)
        for run in self.ledger.runs.values():
            if not run.finished and run.facts.get("snapshot") == id:
                yield Link("run", run.name, leaf=True)
        yield from map(_policy, self.ledger.from_snapshot(id))

    def _after_policy(self, id: str) -> Iterator[Link]:
        for decision in self.ledger.decided_on.get(id, ()):
            yield Link("decision", decision.id, leaf=True)
        for seq in self.ledger.released.get(id, ()):
            yield Link("release", str(seq), leaf=True)
        yield from map(_policy, self.ledger.children(id))

    def _after_run(self, id: str) -> Iterator[Link]:
        policy = self.ledger.runs[id].facts.get("policy")
        if isinstance(policy, str) and policy in self.ledger.made:
            yield Link("policy", policy)
        for decision in self.ledger.decisions.values():
            if decision.run == id:
                yield Link("decision", decision.id)

    def _after_decision(self, id: str) -> Iterator[Link]:
        decision = self.ledger.decisions[id]
        for seq in self.ledger.released.get(decision.candidate, ()):
            if self.ledger.releases[seq].project == decision.project:
                yield Link("release", str(seq), leaf=True)

    def _after_release(self, id: str) -> Iterator[Link]:
        policy = self.ledger.releases[int(id)].policy
        if self.brief:
            found = self.store.answered_lately(policy, _RECENT)
            told = {"answered": len(found), "of_the_last": _RECENT, "sample": found[:_SAMPLES]}
        else:
            told = {"answered": self.store.answered_by(policy)}
        if told["answered"]:
            yield Link("interactions", policy, told)


def _policy(made: Made) -> Link:
    return Link("policy", made.id)
