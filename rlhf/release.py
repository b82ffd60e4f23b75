"""Which policy answers users: champion, previous, and how they came to be.

The pointer is the newest row of the store's release history, written in one transaction; a
policy's files are verified by hash before it moves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from feedback_store import Conflict, NotFound, Release, Store
from feedback_store import Policy as PolicyRecord
from rlhf.errors import PolicyError, UsageError
from rlhf.policies import Policy, base_policy, read_policy, verify_policy


def register(store: Store, policy: Policy) -> None:
    """Make a policy known to the store, so that interactions, runs and releases can name it.

    A reward model gives no answers, so no interaction or release can come from it.
    """
    if policy.id is None or policy.folder is None or policy.kind == "reward":
        return
    known = known_policy(store, policy.id)
    if known is not None:
        if not Path(known.path).exists():
            store.move_policy(policy.id, str(policy.folder.resolve()))
        return
    about = policy.manifest
    store.add_policy(
        PolicyRecord(
            id=policy.id,
            kind=policy.kind,
            base_model=policy.base_model,
            parent=about.get("parent"),
            snapshot=about.get("snapshot"),
            run=about.get("run"),
            path=str(policy.folder.resolve()),
            manifest=dict(about),
        )
    )


def find(store: Store, policy_id: str) -> Policy:
    """The policy of this id (or an unambiguous beginning of it), read from its folder."""
    record = known_policy(store, policy_id)
    if record is None:
        near = [p for p in store.policies() if p.id.startswith(policy_id)]
        if len(near) != 1:
            many = "several policies begin so" if near else "no such policy"
            raise UsageError(f"policy {policy_id}: {many}; `rlhf release list` names them")
        record = near[0]
    if record.kind == "base":
        return base_policy(record.base_model)
    policy = read_policy(Path(record.path))
    if policy.id != record.id:
        raise PolicyError(f"policy {record.id}: {record.path} holds another policy ({policy.id})")
    return policy


def champion(store: Store, project: str) -> Policy | None:
    """The policy that answers now; None before the first release."""
    record = store.champion(project)
    return None if record is None else find(store, record.id)


def promote(store: Store, policy_id: str, reason: str, project: str) -> Release:
    """Make a policy the champion, after verifying its files; a frozen project keeps its own."""
    if (frozen := store.frozen(project)) is not None:  # before the files are read, which takes long
        raise Conflict(frozen.told())
    return _move(store, find(store, policy_id), "promote", reason, project)


def rollback(store: Store, reason: str, project: str) -> Release:
    """Give the answers back to the policy before the champion."""
    before = previous(store, project)
    if before is None:
        raise UsageError("rollback: there is no previous release to go back to")
    return _move(store, find(store, before), "rollback", reason, project)


def previous(store: Store, project: str) -> str | None:
    """The policy that was champion before this one; None before the second release."""
    history = store.releases(project)
    return history[-1].previous if history else None


def _move(
    store: Store,
    policy: Policy,
    action: Literal["promote", "rollback"],
    reason: str,
    project: str,
) -> Release:
    verify_policy(policy)
    if policy.id is None:
        raise UsageError("a bare base model cannot be released; train a policy from it")
    current = store.champion(project)
    return store.add_release(
        Release(
            project=project,
            policy=policy.id,
            previous=None if current is None else current.id,
            action=action,
            reason=reason,
        )
    )


def known_policy(store: Store, policy_id: str) -> PolicyRecord | None:
    """The store's row of a policy; None where it has none."""
    try:
        return store.policy(policy_id)
    except NotFound:
        return None
