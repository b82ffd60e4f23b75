"""One thing's lineage both ways: what it was made of, and what it went into.

A thing that was told of already is named again without its own branches. What is left out for
want of room is counted where it would stand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedback_store import NotFound, Store
from feedback_store.snapshots.vote_index import VoteIndex
from rlhf.lineage.facts import Facts
from rlhf.lineage.find import named
from rlhf.lineage.ledger import read_ledger
from rlhf.lineage.links import Link, Links


@dataclass
class Node:
    """A thing by kind and id, what is known of it, and its two branches."""

    kind: str
    id: str
    facts: dict[str, Any] = field(default_factory=dict)
    made_of: list[Node] = field(default_factory=list)
    went_into: list[Node] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)
    """By branch, how many of its nodes were left out."""

    def document(self) -> dict[str, Any]:
        """As JSON values; a branch that is empty is left out."""
        branches = {"made_of": self.made_of, "went_into": self.went_into}
        told: dict[str, Any] = {
            name: [n.document() for n in nodes] for name, nodes in branches.items() if nodes
        }
        more = {"more": self.more} if self.more else {}
        return {"kind": self.kind, "id": self.id, **self.facts, **told, **more}


@dataclass(frozen=True)
class Bounds:
    """How far a walk goes: steps from its beginning, nodes of one branch, nodes in all."""

    depth: int = 100
    breadth: int = 1_000
    nodes: int = 10_000


def trace(store: Store, runs: Path, given: str, bounds: Bounds = Bounds()) -> Node:
    """The lineage of an id or its beginning; raises `UsageError` for one that names nothing."""
    ledger = read_ledger(store, runs)
    kind, id = named(store, ledger, given)
    return walk(Facts(store, ledger, runs, VoteIndex), kind, id, bounds)


def walk(facts: Facts, kind: str, id: str, bounds: Bounds) -> Node:
    """A thing with its two branches."""
    links = Links(facts.store, facts.ledger, facts.indexes, facts.brief)
    node = Node(kind, id, facts.of(kind, id))
    _Branch("made_of", links.behind, facts, bounds).grow(node)
    _Branch("went_into", links.ahead, facts, bounds).grow(node)
    return node


class _Branch:
    """One of the two ways, nearest things first."""

    def __init__(
        self,
        name: str,
        links: Callable[[str, str], list[Link]],
        facts: Facts,
        bounds: Bounds,
    ) -> None:
        self._name = name
        self._links = links
        self._facts = facts
        self._bounds = bounds
        self._room = bounds.nodes
        self._seen: set[tuple[str, str]] = set()

    def grow(self, root: Node) -> None:
        """Put the branch on the node that it begins at."""
        waiting = deque([(root, 0)])
        while waiting:
            node, depth = waiting.popleft()
            if (node.kind, node.id) in self._seen:
                continue
            self._seen.add((node.kind, node.id))
            if self._name == "made_of" and node.kind == "snapshot":
                node.facts |= self._facts.votes_behind(node.id)
            links = self._next(node)
            for link in links[: self._fits(depth)]:
                child = Node(link.kind, link.id, self._told(link))
                getattr(node, self._name).append(child)
                if not link.leaf:
                    waiting.append((child, depth + 1))
            shown = len(getattr(node, self._name))
            self._room -= shown
            if len(links) > shown:
                node.more[self._name] = len(links) - shown

    def _fits(self, depth: int) -> int:
        return 0 if depth >= self._bounds.depth else min(self._bounds.breadth, self._room)

    def _next(self, node: Node) -> list[Link]:
        try:
            return self._links(node.kind, node.id)
        except NotFound:  # a row that went while we walked
            return []

    def _told(self, link: Link) -> dict[str, Any]:
        try:
            return {**link.facts, **self._facts.of(link.kind, link.id)}
        except NotFound:
            return {**link.facts, "missing": True}
