"""Policies that a service may hold against each other."""

from __future__ import annotations

import json
from pathlib import Path

from feedback_store import Policy, Release, Store

CANARY = {"traffic": {"canary": "canary"}}


def fill(folder: Path, base: Path) -> None:
    """Put a champion and others into the store of a service that isn't started yet."""
    with Store.open(folder / "store.db") as store:
        for id in ("champion", "canary", "third"):
            path = folder / "policies" / id
            path.mkdir(parents=True)
            about = {"id": id, "kind": "lora", "base_model": str(base), "files": {}}
            (path / "policy.json").write_text(json.dumps(about), encoding="utf-8")
            store.add_policy(Policy(id=id, kind="lora", base_model=str(base), path=str(path)))
        store.add_release(Release(policy="champion", action="promote"))
