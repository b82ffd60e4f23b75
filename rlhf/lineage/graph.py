"""A walk's tree as a picture takes it: every thing once, in the column of its kind, and arrows.

answer → vote → data → training → policy → judgement → release
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rlhf.lineage.ledger import Ledger
from rlhf.lineage.walk import Node

COLUMNS: Final = ("answer", "vote", "data", "training", "policy", "judgement", "release")
_COLUMN: Final = {
    "interaction": 0,
    "feedback": 1,
    "comparison": 1,
    "snapshot": 2,
    "file": 2,
    "base": 2,
    "run": 3,
    "policy": 4,
    "decision": 5,
    "release": 6,
}
# Runs that make no policy but judge some.
_JUDGES: Final = ("evaluate", "gate")


@dataclass
class Thing:
    """A node of the picture."""

    key: str
    kind: str
    id: str
    column: int
    facts: dict[str, Any]
    more: dict[str, int]


@dataclass
class Graph:
    """All of a walk's things, the chosen one among them, and arrows from what went into what."""

    chosen: str
    things: dict[str, Thing] = field(default_factory=dict)
    arrows: dict[tuple[str, str], None] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        things = [vars(thing) for thing in self.things.values()]
        return {"chosen": self.chosen, "nodes": things, "edges": [list(a) for a in self.arrows]}


def graph(root: Node, ledger: Ledger, kind_of: Callable[[str], str | None]) -> Graph:
    """The picture of a walk; `kind_of` says which kind of vote an id is of, None for one that went.

    The votes that the nearest snapshot names as its sample stand in it, too.
    """
    picture = Graph(_key(root.kind, root.id))
    _take(picture, root)
    _put_votes(picture, kind_of)
    _put_runs_between(picture, ledger)
    _put_decisions_between(picture)
    return picture


def _key(kind: str, id: str) -> str:
    return f"{kind}:{id}"


def _take(picture: Graph, node: Node) -> str:
    key = _put(picture, node.kind, node.id, node.facts)
    picture.things[key].more.update(node.more)
    for child in node.made_of:
        picture.arrows[_take(picture, child), key] = None
    for child in node.went_into:
        if child.kind == "interactions":  # answers of the policy, which would be a circle
            picture.things[key].facts["answers"] = child.facts
            continue
        picture.arrows[key, _take(picture, child)] = None
    return key


def _put(picture: Graph, kind: str, id: str, facts: dict[str, Any]) -> str:
    key = _key(kind, id)
    judges = kind == "run" and id.partition("-")[0] in _JUDGES
    column = _COLUMN["decision"] if judges else _COLUMN[kind]
    thing = picture.things.setdefault(key, Thing(key, kind, id, column, {}, {}))
    thing.facts.update(facts)
    return key


def _put_votes(picture: Graph, kind_of: Callable[[str], str | None]) -> None:
    """Where a walk comes to a snapshot from its results, a few of its votes go on from there."""
    sampled = [thing for thing in picture.things.values() if thing.facts.get("votes_sample")]
    for snapshot in sampled[:1]:
        for vote in snapshot.facts["votes_sample"]:
            if (kind := kind_of(vote)) is not None:
                picture.arrows[_put(picture, kind, vote, {}), snapshot.key] = None
        count = snapshot.facts.get("votes", 0) - len(snapshot.facts["votes_sample"])
        if count > 0:
            snapshot.more["made_of"] = count


def _put_runs_between(picture: Graph, ledger: Ledger) -> None:
    """A policy comes from its data through the run that made it."""
    for thing in [thing for thing in picture.things.values() if thing.kind == "policy"]:
        run = ledger.runs.get(str(thing.facts.get("run")))
        if run is None:
            continue
        told = {"stage": run.stage, "finished": run.finished}
        between = _put(picture, "run", run.name, told)
        made = ledger.made[thing.id]
        data = [_key("snapshot", made.snapshot or ""), _key("file", made.data or "")]
        for key in data:
            if picture.arrows.pop((key, thing.key), ...) is None:
                picture.arrows[key, between] = None
        for _, source in made.sources():  # a run began at its parent: told by the policies alone
            picture.arrows.pop((_key("policy", source), between), None)
        picture.arrows[between, thing.key] = None


def _put_decisions_between(picture: Graph) -> None:
    """A promotion follows the decision that allowed it."""
    decisions = [thing for thing in picture.things.values() if thing.kind == "decision"]
    for release in [thing for thing in picture.things.values() if thing.kind == "release"]:
        if release.facts.get("action") != "promote":
            continue
        policy = str(release.facts.get("policy"))
        allowed = [d for d in decisions if d.facts["promote"] and d.facts["candidate"] == policy]
        for decision in allowed:
            picture.arrows.pop((_key("policy", policy), release.key), None)
            picture.arrows[decision.key, release.key] = None
            if _key("policy", policy) in picture.things:
                picture.arrows[_key("policy", policy), decision.key] = None
