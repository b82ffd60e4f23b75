"""What a server works on: a store with policies in it, an engine that only keeps count, votes."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from feedback_store import Feedback, Interaction, Message, Release, Store
from feedback_store import Policy as PolicyRecord
from rlhf.policies import Policy
from rlhf.serving.engines import Ask, EngineFailed, Piece
from rlhf.serving.settings import ServeConfig
from rlhf.serving.traffic import Traffic

BASE = "tiny"


class CountingEngine:
    """Holds policies by label; fails for those that it is told to."""

    alive = True

    def __init__(self) -> None:
        self.held: list[str] = []
        self.calls: list[str] = []
        self.broken: dict[str, str] = {}
        self.on_ready: Callable[[str], None] = lambda label: None

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def ready(self, policy: Policy) -> None:
        self.calls.append(f"ready {policy.label}")
        self.on_ready(policy.label)
        if policy.label in self.broken:
            raise EngineFailed(self.broken[policy.label])
        self.held.append(policy.label)

    async def drop(self, label: str) -> None:
        self.calls.append(f"drop {label}")
        self.held.remove(label)

    async def answer(self, ask: Ask) -> AsyncIterator[Piece]:
        assert ask.policy in self.held
        yield Piece("ok", finish_reason="stop")


class Scene:
    """A store in a folder, an engine, a clock that is set by hand, and what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A key of its own would deal the users anew in every run.
        (folder / "feedback.db.key").write_text("of the tests, the same in every run")
        self.store = Store.open(folder / "feedback.db")
        self.engine = CountingEngine()
        self.news: list[str] = []
        self.now = 0.0

    def policy(self, id: str, parent: str | None = None, base_model: str = BASE) -> str:
        folder = self.folder / "policies" / id
        folder.mkdir(parents=True)
        manifest = {"id": id, "kind": "lora", "base_model": base_model, "files": {}}
        (folder / "policy.json").write_text(json.dumps(manifest), encoding="utf-8")
        record = PolicyRecord(
            id=id, kind="lora", base_model=base_model, parent=parent, path=str(folder)
        )
        self.store.add_policy(record)
        return id

    def release(self, id: str) -> None:
        self.store.add_release(Release(policy=id, action="promote"))

    def two(self) -> None:
        """A champion, and a policy that came of it."""
        self.policy("champion")
        self.release("champion")
        self.policy("canary", parent="champion")

    def traffic(
        self, webhook: str | None = None, draw: Any = random.random, **about: Any
    ) -> Traffic:
        config = ServeConfig(base_model=BASE, webhook=webhook, traffic=about)
        return Traffic(
            self.store,
            self.engine,
            config,
            self.folder,
            self.news.append,
            draw=draw,
            clock=lambda: self.now,
        )


def answered(policy: str | None, probability: float | None = 0.5, **fields: Any) -> Interaction:
    given = {
        "messages": (Message(role="user", content="How?"),),
        "response": "So.",
        "policy": policy,
        "assignment_probability": probability,
        "finish_reason": "stop",
    }
    return Interaction.model_validate(given | fields)


def thumb(of: Interaction, up: bool, voter: str = "", **fields: Any) -> Feedback:
    """By itself, of somebody who says nothing else."""
    value = 1.0 if up else -1.0
    who = voter or f"voter-of-{of.id}"
    return Feedback(interaction=of.id, voter=who, kind="thumb", value=value, **fields)


def votes(store: Store, policy: str | None, thumbs: Sequence[bool]) -> list[Interaction]:
    """An answer and a vote each, every vote by somebody else."""
    rows = [answered(policy) for _ in thumbs]
    given = [thumb(row, up) for row, up in zip(rows, thumbs, strict=True)]
    store.append(interactions=rows, feedback=given)
    return rows


def crowd(
    store: Store, lots: random.Random, rates: Mapping[str, float], share: float, count: int
) -> int:
    """So many votes dealt to canary and champion by `share`; how many the canary got."""
    drawn = ["canary" if lots.random() < share else "champion" for _ in range(count)]
    for arm in rates:
        votes(store, arm, [lots.random() < rates[arm] for name in drawn if name == arm])
    return drawn.count("canary")
