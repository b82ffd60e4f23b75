"""A small world with a whole lineage: from votes to a release and back."""

from __future__ import annotations

import json
import random
from pathlib import Path

import yaml

from feedback_store import (
    Comparison,
    Decision,
    Feedback,
    Interaction,
    Message,
    Policy,
    Release,
    SnapshotRules,
    Store,
    build_snapshot,
)
from feedback_store.trust.rules import TrustRules

HOSTILE = "<img src=x onerror=alert(1)>"


def fill(store: Store, runs: Path) -> None:
    """80 questions with two answers and two votes each; a policy of them, decided on, released."""
    base = Policy(id="old", kind="lora", base_model="base", path="/nowhere", manifest={})
    store.add_policy(base)
    store.add_release(Release(policy="old", action="promote"))
    draw = random.Random(0)
    for number in range(80):
        asked = (Message(role="user", content=f"question {number} {HOSTILE}"),)
        answers = [
            Interaction(
                id=f"{side}{number}", messages=asked, response=f"{side} {number}", policy="old"
            )
            for side in "xy"
        ]
        thumb = Feedback(
            id=f"t{number}", interaction=f"x{number}", voter=f"v{number}", kind="thumb",
            value=draw.choice((1.0, -1.0)), reasons=("clear",),
        )  # fmt: skip
        choice = Comparison(id=f"c{number}", a=f"x{number}", b=f"y{number}", voter="w", choice="a")
        store.append(interactions=answers, feedback=[thumb], comparisons=[choice])
    rules = SnapshotRules(held_out=0.1, trust=TrustRules(enabled=False))
    snapshot = build_snapshot(store, runs / "snapshots", rules).id
    run = runs / "dpo-20261124T040602Z-411321191ff1"
    (run / "adapter").mkdir(parents=True)
    about = {"id": "new", "kind": "lora", "base_model": "base", "parent": "old"}
    about |= {"snapshot": snapshot, "data": snapshot, "run": run.name}
    (run / "adapter" / "policy.json").write_text(json.dumps(about))
    (run / "config.yaml").write_text(yaml.safe_dump({"stage": "dpo", "beta": 0.1}))
    (run / "lineage.json").write_text(json.dumps({"snapshot": snapshot, "parent": "old"}))
    (run / "manifest.json").write_text(json.dumps({**about, "policy": "new"}))
    record = {name: about[name] for name in ("id", "kind", "base_model", "parent", "snapshot")}
    path = str(run / "adapter")
    store.add_policy(Policy(**record, run=run.name, path=path, manifest=about))
    store.add_decision(Decision(id="gate", candidate="new", champion="old", promote=True))
    store.add_release(Release(policy="new", action="promote", reason=HOSTILE))
