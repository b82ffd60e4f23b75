"""Reward models that have seen the votes which they are to be held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from feedback_store import load_snapshot
from rewards import Component
from rlhf.files import sha256_file
from rlhf.lab.votes import is_snapshot
from rlhf.policies import read_policy


def leaks(components: Sequence[Component], votes: str) -> Iterator[str]:
    """A warning for each reward model that was trained on this file or snapshot."""
    path = Path(votes)
    if path.is_file():
        known = sha256_file(path)
    elif is_snapshot(path):
        known = load_snapshot(path).id
    else:
        return
    for component in components:
        if component.name != "reward_model":
            continue
        if read_policy(Path(component.params["path"])).manifest.get("data") == known:
            yield (
                f"{component.label or component.name} was trained on {votes}; only votes that "
                "its training kept aside (--unseen) say how good it is"
            )
