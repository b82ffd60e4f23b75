"""A policy by what it was made of, and how taint comes down from one to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from feedback_store import Taint

ONLINE = ("ppo", "rloo", "grpo", "reinforce_pp")
# The file of a snapshot that a stage learns from; any of the files where a stage isn't named here.
_LEARNS_FROM = {
    "sft": "sft.jsonl",
    "dpo": "dpo.jsonl",
    "kto": "kto.jsonl",
    "reward_model": "dpo.jsonl",
    **dict.fromkeys(ONLINE, "prompts.jsonl"),
}


@dataclass(frozen=True)
class Made:
    """A policy or a reward model, by what it was made of."""

    id: str
    kind: str
    base_model: str
    parent: str | None = None
    snapshot: str | None = None
    data: str | None = None
    """The snapshot, or the sha256 of the file, that its rows came from."""
    run: str | None = None
    path: str | None = None
    rewards: tuple[str, ...] = ()
    """Reward models that it learned from."""

    @property
    def stage(self) -> str:
        """The stage that made it, by its run's name."""
        return (self.run or "policy").partition("-")[0]

    @property
    def learned_from(self) -> str | None:
        """The file of its snapshot that it learned from; None where that can't be told."""
        return _LEARNS_FROM.get(self.stage)

    def sources(self) -> Iterator[tuple[str, str]]:
        """The policies that it stands on: its start, and what scored its answers."""
        if self.parent is not None:
            yield "parent", self.parent
        for reward in self.rewards:
            yield "reward", reward


def spread(made: Mapping[str, Made], taints: Mapping[str, list[Taint]]) -> dict[str, list[Taint]]:
    """The taints with those that policies inherit, however far down and whenever made."""
    children: dict[str, list[Made]] = {}
    for child in made.values():
        for _, source in child.sources():
            children.setdefault(source, []).append(child)
    found = {policy: list(known) for policy, known in taints.items()}
    waiting = list(found)
    while waiting:
        source = waiting.pop()
        for child in children.get(source, ()):
            links = [link for link, id in child.sources() if id == source]
            inherited = _inherited(child.id, links, source, found[source])
            known = {taint.erasure for taint in found.get(child.id, ())}
            if fresh := [taint for taint in inherited if taint.erasure not in known]:
                found.setdefault(child.id, []).extend(fresh)
                waiting.append(child.id)
    return found


def _inherited(child: str, links: list[str], source: str, taints: list[Taint]) -> list[Taint]:
    if not links:
        return []
    link: Literal["parent", "reward"] = "parent" if "parent" in links else "reward"
    return [
        Taint(policy=child, erasure=taint.erasure, through=link, source=source) for taint in taints
    ]
