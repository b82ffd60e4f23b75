"""One thing's lineage both ways: what it was made of, and what it went into.

    interaction ─ vote ─ snapshot ─ run ─ policy ─ gate decision ─ release
         └──────────── answered by a policy ──┘

Each node says ids, counts and settings, never what a user wrote. A policy that was told of already
is named again without its own branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedback_store import Interaction, NotFound, Release, Snapshot, Store, StoreError
from feedback_store.vote_index import VoteIndex, holds_prompt
from rlhf.lineage.find import named
from rlhf.lineage.ledger import Ledger, RunFacts, read_ledger
from rlhf.lineage.made import Made
from rlhf.lineage.rebuild import rebuild_command

_SAMPLES = 5


@dataclass
class Node:
    """A thing by kind and id, what is known of it, and its two branches."""

    kind: str
    id: str
    facts: dict[str, Any] = field(default_factory=dict)
    made_of: list[Node] = field(default_factory=list)
    went_into: list[Node] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON values; a branch that is empty is left out."""
        branches = {"made_of": self.made_of, "went_into": self.went_into}
        told = {name: [n.document() for n in nodes] for name, nodes in branches.items() if nodes}
        return {"kind": self.kind, "id": self.id, **self.facts, **told}


def trace(store: Store, runs: Path, given: str) -> Node:
    """The lineage of an id or its beginning; raises `UsageError` for one that names nothing."""
    ledger = read_ledger(store, runs)
    kind, id = named(store, ledger, given)
    node = Back(store, ledger, runs).node(kind, id)
    node.went_into = Forward(store, ledger, runs).after(kind, id)
    return node


@dataclass
class _Walker:
    store: Store
    ledger: Ledger
    runs: Path
    seen: set[str] = field(default_factory=set)

    def policy_facts(self, id: str) -> dict[str, Any]:
        """What is told of a policy wherever it turns up."""
        made = self.ledger.made.get(id)
        if made is None:
            return {"unknown": True}
        facts: dict[str, Any] = {"stage": made.stage, "run": made.run, "kind_of": made.kind}
        if taints := self.ledger.taints.get(id):
            facts["tainted"] = [t.model_dump(exclude={"policy"}) for t in taints]
            facts["rebuild"] = rebuild_command(self.ledger, self.store, self.runs, made)
        return facts

    def snapshot_facts(self, id: str) -> dict[str, Any]:
        """Counts, watermark, and whether it was erased since."""
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

    def release_facts(self, release: Release) -> dict[str, Any]:
        """When, in whose place and why."""
        facts = {
            "project": release.project,
            "policy": release.policy,
            "previous": release.previous,
            "action": release.action,
            "reason": release.reason,
            "created_at": str(release.created_at),
        }
        return facts | ({"tainted": True} if release.policy in self.ledger.taints else {})

    def decision_facts(self, id: str) -> dict[str, Any]:
        """What the gate said."""
        decision = self.ledger.decisions[id]
        return {
            "promote": decision.promote,
            "candidate": decision.candidate,
            "champion": decision.champion,
            "reasons": list(decision.reasons),
            "run": decision.run,
        }

    def run_facts(self, run: RunFacts) -> dict[str, Any]:
        """Its configuration and the code that ran."""
        return {
            "folder": str(run.folder),
            "finished": run.finished,
            "config": run.config(),
            "code": {"revision": run.facts.get("revision"), **run.facts.get("versions", {})},
        }


class Back(_Walker):
    """From a thing to what it was made of."""

    def node(self, kind: str, id: str) -> Node:
        """The thing with everything behind it."""
        make: dict[str, Callable[[str], Node]] = {
            "interaction": self._interaction,
            "feedback": self._vote,
            "comparison": self._vote,
            "snapshot": self.snapshot,
            "run": self.run,
            "policy": self.policy,
            "decision": self._decision,
            "release": self._release,
        }
        return make[kind](id)

    def policy(self, id: str) -> Node:
        """A policy, its run, its snapshot and its parents down to the base model."""
        node = Node("policy", id, self.policy_facts(id))
        made = self.ledger.made.get(id)
        if made is None or id in self.seen:
            return node
        self.seen.add(id)
        if made.run in self.ledger.runs:
            node.made_of.append(self._own_run(self.ledger.runs[str(made.run)]))
        if made.snapshot is not None:
            node.made_of.append(self.snapshot(made.snapshot))
        elif made.data is not None:
            node.made_of.append(Node("file", made.data))
        for _, source in made.sources():
            node.made_of.append(self.policy(source))
        if made.parent is None:
            node.made_of.append(Node("base", made.base_model))
        return node

    def snapshot(self, id: str) -> Node:
        """A snapshot with the number and a few of the votes behind its rows."""
        node = Node("snapshot", id, self.snapshot_facts(id))
        snapshot = self.ledger.snapshots.get(id)
        if snapshot is not None and id not in self.seen and id not in self.ledger.erased:
            node.facts |= _votes_behind(snapshot)
        self.seen.add(id)
        return node

    def run(self, id: str) -> Node:
        """A run with what it learned from, or the policies that it compared."""
        run = self.ledger.runs[id]
        node = self._own_run(run)
        if isinstance(snapshot := run.facts.get("snapshot"), str):
            node.made_of.append(self.snapshot(snapshot))
        for key in ("parent", "candidate", "champion"):
            if isinstance(policy := run.facts.get(key), str) and policy in self.ledger.made:
                node.made_of.append(self.policy(policy))
        return node

    def _own_run(self, run: RunFacts) -> Node:
        return Node("run", run.name, self.run_facts(run))

    def _interaction(self, id: str) -> Node:
        row = self.store.interaction(id)
        node = Node("interaction", id, _interaction_facts(row))
        if row.policy is not None:
            node.made_of.append(self.policy(row.policy))
        return node

    def _vote(self, id: str) -> Node:
        vote = self.store.vote(id)
        kind = type(vote).__name__.lower()
        shown = {"kind", "metric", "choice", "revision", "withdrawn", "simulated", "seq"}
        facts = {k: v for k, v in vote.model_dump(include=shown).items() if k != "kind"}
        about = (vote.interaction,) if hasattr(vote, "interaction") else vote.pair
        node = Node(kind, id, {**facts, "created_at": str(vote.created_at)})
        node.made_of = [self._interaction(one) for one in about]
        return node

    def _decision(self, id: str) -> Node:
        decision = self.ledger.decisions[id]
        node = Node("decision", id, self.decision_facts(id))
        if decision.run in self.ledger.runs:
            node.made_of.append(self._own_run(self.ledger.runs[str(decision.run)]))
        for policy in (decision.candidate, decision.champion):
            if policy is not None:
                node.made_of.append(self.policy(policy))
        return node

    def _release(self, id: str) -> Node:
        release = self.ledger.releases[int(id)]
        node = Node("release", id, self.release_facts(release))
        node.made_of.append(self.policy(release.policy))
        for decision in self.ledger.decisions.values():
            if decision.candidate == release.policy and decision.promote:
                node.made_of.append(Node("decision", decision.id, self.decision_facts(decision.id)))
        return node


class Forward(_Walker):
    """From a thing to what became of it."""

    def after(self, kind: str, id: str) -> list[Node]:
        """Everything that a thing went into."""
        follow: dict[str, Callable[[str], Iterator[Node]]] = {
            "interaction": self._after_interaction,
            "feedback": self._after_vote,
            "comparison": self._after_vote,
            "snapshot": self._after_snapshot,
            "run": self._after_run,
            "policy": self._after_policy,
            "decision": self._after_decision,
            "release": self._after_release,
        }
        return list(follow[kind](id))

    def _after_interaction(self, id: str) -> Iterator[Node]:
        row = self.store.interaction(id)
        votes = self.store.votes_on(id)
        yield from (Node(kind, vote) for kind, vote in votes)
        yield from self._snapshots([vote for _, vote in votes], row.project, row.seq or 0, row)

    def _after_vote(self, id: str) -> Iterator[Node]:
        vote = self.store.vote(id)
        about = vote.interaction if hasattr(vote, "interaction") else vote.a
        project = self.store.interaction(about).project
        yield from self._snapshots([id], project, vote.seq or 0, None)

    def _snapshots(
        self, votes: list[str], project: str, seq: int, asked: Interaction | None
    ) -> Iterator[Node]:
        """The snapshots whose rows rest on these votes or, for an interaction, hold its prompt."""
        for snapshot in self.ledger.snapshots.values():
            folder = Path(snapshot.path)
            if snapshot.project != project or snapshot.watermark < seq or not folder.is_dir():
                continue
            files = VoteIndex(folder).files_with(votes)
            if asked is not None and holds_prompt(folder, asked.messages):
                files["prompts.jsonl"] = 1
            if files:
                node = self._snapshot(snapshot.id)
                node.facts = {"in_files": files, **node.facts}
                yield node

    def _snapshot(self, id: str) -> Node:
        node = Node("snapshot", id, self.snapshot_facts(id))
        node.went_into = list(self._after_snapshot(id))
        return node

    def _after_snapshot(self, id: str) -> Iterator[Node]:
        erased = self.ledger.erased.get(id)
        if erased is not None and erased.replaced_by is not None:
            yield self._snapshot(erased.replaced_by)
        for run in self.ledger.runs.values():
            if not run.finished and run.facts.get("snapshot") == id:
                yield Node("run", run.name, {"finished": False, "stage": run.stage})
        for made in self.ledger.from_snapshot(id):
            yield self._policy(made)

    def _policy(self, made: Made) -> Node:
        node = Node("policy", made.id, self.policy_facts(made.id))
        if made.id not in self.seen:
            self.seen.add(made.id)
            node.went_into = list(self._after_policy(made.id))
        return node

    def _after_policy(self, id: str) -> Iterator[Node]:
        self.seen.add(id)
        for decision in self.ledger.decisions.values():
            if decision.candidate == id:
                yield Node("decision", decision.id, self.decision_facts(decision.id))
        for seq, release in self.ledger.releases.items():
            if release.policy == id:
                yield Node("release", str(seq), self.release_facts(release))
        for child in self.ledger.children(id):
            yield self._policy(child)

    def _after_run(self, id: str) -> Iterator[Node]:
        run = self.ledger.runs[id]
        policy = run.facts.get("policy")
        if isinstance(policy, str) and policy in self.ledger.made:
            yield self._policy(self.ledger.made[policy])
        for decision in self.ledger.decisions.values():
            if decision.run == id:
                node = Node("decision", decision.id, self.decision_facts(decision.id))
                node.went_into = list(self._after_decision(decision.id))
                yield node

    def _after_decision(self, id: str) -> Iterator[Node]:
        decision = self.ledger.decisions[id]
        for seq, release in self.ledger.releases.items():
            if release.policy == decision.candidate and release.project == decision.project:
                yield Node("release", str(seq), self.release_facts(release))

    def _after_release(self, id: str) -> Iterator[Node]:
        release = self.ledger.releases[int(id)]
        if count := self.store.answered_by(release.policy):
            yield Node("interactions", release.policy, {"answered": count})


def _interaction_facts(row: Interaction) -> dict[str, Any]:
    shown = {"project", "turn", "policy", "finish_reason", "style_used", "simulated", "consent"}
    return {**row.model_dump(include=shown), "created_at": str(row.created_at), "seq": row.seq}


def _votes_behind(snapshot: Snapshot) -> dict[str, Any]:
    try:
        index = VoteIndex(Path(snapshot.path))
        return {"votes": index.count(), "votes_sample": index.sample(_SAMPLES)}
    except (StoreError, OSError, NotFound):
        return {"missing": True}
