"""What answers users and how it came there; promote, roll back, freeze and thaw.

A change is one row in the store, told at once; the running service takes it up within
`poll_seconds`. Who changed it stands in the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import StringConstraints

from feedback_store import Policy, Release, Store
from feedback_store.schema import Decision
from rlhf.errors import RlhfError
from rlhf.lineage.ancestry import stage_of
from rlhf.lineage.made import Made, spread
from rlhf.release import known_policy, promote, rollback
from rlhf.serving.access import Caller, needs
from rlhf.serving.bodies import Body, read_body
from rlhf.serving.problems import Problem
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage

router = APIRouter(prefix="/web/releases", include_in_schema=False)

Reader = Annotated[Caller, Depends(needs("review"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]

_CANDIDATES = 30
_HISTORY = 200


class Why(Body):
    """The reason of a change, kept with it."""

    reason: Reason


class Promotion(Why):
    """The policy that is to answer."""

    policy: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


@router.get("")
async def releases(request: Request, caller: Reader) -> dict[str, Any]:
    """Champion, history (newest first), candidates with their last decision, canary, freeze."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    project = service.config.project
    told = await storage.run(lambda store: _told(store, project))
    arms = service.traffic.models()
    canary = next((arm for arm in arms if arm.role == "canary"), None)
    serving = arms[0].policy.id
    return {
        **told,
        "serving": serving,
        "canary": None
        if canary is None
        else {"id": canary.policy.label, "share": canary.probability},
        "problems": service.traffic.problems() if "admin" in caller.scopes else [],
        "may_change": "admin" in caller.scopes,
    }


@router.post("/promote")
async def do_promote(request: Request, caller: Admin) -> dict[str, Any]:
    """Make a policy the champion, after its files are checked; 409 in a frozen project."""
    body = await read_body(request, Promotion)
    return await _change(
        request,
        lambda store, project: promote(store, body.policy, _by(body, caller), project),
    )


@router.post("/rollback")
async def do_rollback(request: Request, caller: Admin) -> dict[str, Any]:
    """Give the answers back to the policy before the champion, frozen or not."""
    body = await read_body(request, Why)
    return await _change(
        request, lambda store, project: rollback(store, _by(body, caller), project)
    )


@router.post("/freeze")
async def do_freeze(request: Request, caller: Admin) -> dict[str, Any]:
    """Nobody promotes until it is thawed."""
    body = await read_body(request, Why)
    service, storage = request.app.state.service, request.app.state.storage
    project, reason = service.config.project, _by(body, caller)
    freeze = await storage.run(lambda store: store.freeze(project, reason))
    return {"frozen": {"reason": freeze.reason, "since": freeze.created_at.isoformat()}}


@router.post("/thaw")
async def do_thaw(request: Request, caller: Admin) -> dict[str, Any]:
    """The champion may move again; nothing happens where it may already."""
    body = await read_body(request, Why)
    service, storage = request.app.state.service, request.app.state.storage
    project, reason = service.config.project, _by(body, caller)
    await storage.run(lambda store: store.thaw(project, reason))
    return {"frozen": None}


async def _change(request: Request, work: Callable[[Store, str], Release]) -> dict[str, Any]:
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    try:
        release = await storage.run(lambda store: work(store, service.config.project))
    except RlhfError as error:  # no such policy, damaged files, nothing to go back to
        raise Problem(409, str(error), code="refused") from error
    return {"release": _release(release, {})}


def _by(body: Why, caller: Caller) -> str:
    return f"{body.reason} ({caller.label})"


def _told(store: Store, project: str) -> dict[str, Any]:
    history = store.releases(project)[::-1]
    last = history[0] if history else None
    freeze = store.frozen(project)
    taints = _tainted(store)
    decisions = store.last_decisions(project)
    newest = sorted(decisions.values(), key=lambda one: (one.created_at is None, one.created_at))
    candidates = [_candidate(store, one, taints) for one in newest[::-1][:_CANDIDATES]]
    return {
        "project": project,
        "champion": None if last is None else last.policy,
        "previous": None if last is None else last.previous,
        "frozen": None
        if freeze is None
        else {"reason": freeze.reason, "since": freeze.created_at.isoformat()},
        "history": [_release(one, taints) for one in history[:_HISTORY]],
        "more": max(0, len(history) - _HISTORY),
        "candidates": [one for one in candidates if one is not None],
    }


def _release(release: Release, taints: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "seq": release.seq,
        "action": release.action,
        "policy": release.policy,
        "previous": release.previous,
        "reason": release.reason,
        "at": release.created_at.isoformat() if release.created_at else None,
        "tainted": taints.get(release.policy, []),
    }


def _candidate(
    store: Store, decision: Decision, taints: dict[str, list[str]]
) -> dict[str, Any] | None:
    policy = known_policy(store, decision.candidate)
    if policy is None:
        return None
    return {
        "id": policy.id,
        "stage": stage_of(policy),
        "parent": policy.parent,
        "at": policy.created_at.isoformat() if policy.created_at else None,
        "decision": {
            "promote": decision.promote,
            "champion": decision.champion,
            "reasons": list(decision.reasons),
            "at": decision.created_at.isoformat() if decision.created_at else None,
        },
        "tainted": taints.get(policy.id, []),
    }


def _tainted(store: Store) -> dict[str, list[str]]:
    """By policy, the erasures of what it learned from, itself or through those before it."""
    known = store.taints()
    if not known:
        return {}
    made = {policy.id: _made(policy) for policy in store.policies()}
    return {
        policy: sorted({taint.erasure for taint in taints})
        for policy, taints in spread(made, known).items()
    }


def _made(policy: Policy) -> Made:
    return Made(
        id=policy.id,
        kind=policy.kind,
        base_model=policy.base_model,
        parent=policy.parent,
        snapshot=policy.snapshot,
        data=None,
        run=policy.run,
        path=policy.path,
        rewards=(),
    )
