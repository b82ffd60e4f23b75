"""From a policy back to its base model: its parents, and how each was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feedback_store import Policy, Store
from rlhf.release import known_policy
from rlhf.runs import Run


def ancestry(store: Store, policy_id: str) -> list[Policy]:
    """The policy and its parents, the newest first."""
    line: list[Policy] = []
    record = known_policy(store, policy_id)
    while record is not None and record not in line:
        line.append(record)
        record = known_policy(store, record.parent) if record.parent else None
    return line


def stage_of(policy: Policy) -> str:
    """The stage that made a policy, by its run's name."""
    return (policy.run or "policy").partition("-")[0]


def steps(store: Store, policy_id: str) -> list[dict[str, str]]:
    """Base model, snapshots and policies from the first to this one, for a report."""
    line: list[dict[str, str]] = []
    for record in reversed(ancestry(store, policy_id)):
        if not line:
            line.append({"kind": "base", "id": record.base_model})
        if record.snapshot:
            line.append({"kind": "snapshot", "id": record.snapshot})
        line.append({"kind": stage_of(record), "id": record.id})
    return line


def curves(store: Store, runs: Path, policy_id: str) -> list[dict[str, Any]]:
    """Rows of `metrics.jsonl` of every run that led to the policy, each with its stage."""
    rows: list[dict[str, Any]] = []
    for record in reversed(ancestry(store, policy_id)):
        if record.run:
            run = Run(runs / record.run, stage_of(record), "")
            rows += [{**row, "stage": f"{run.stage} {record.id[:6]}"} for row in run.metrics()]
    return rows
