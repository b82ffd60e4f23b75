"""The arena's leaderboard, out of the choices that stand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from feedback_store import Store
from rlhf.evaluation.leaderboard import ENOUGH, leaderboard
from rlhf.evaluation.paired import Games
from rlhf.serving.access import needs
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage

router = APIRouter(prefix="/web/arena", include_in_schema=False)


@router.get("/leaderboard")
async def standings(request: Request) -> dict[str, Any]:
    """Who stands how, raw and with lengths held equal; for reviewers, or for all who chat."""
    service: Service = request.app.state.service
    storage: Storage = request.app.state.storage
    await needs("chat" if service.config.arena.public_leaderboard else "review")(request, None)
    project = service.config.project
    found = await storage.run(lambda store: leaderboard(arena_counts(store, project)))
    roles = {arm.policy.id or "": arm.role for arm in service.traffic.models()}
    told = asdict(found)
    for row in told["standings"]:
        row["role"] = roles.get(row["policy"])
        row["policy"] = row["policy"] or "base"
    return {**told, "enough": ENOUGH}


def arena_counts(store: Store, project: str) -> list[Games]:
    """The project's live choices by people in the arena; a policy without an id is "".

    As far as they are counted: a choice is here some seconds after it was made.
    """
    return [
        Games(one.first, one.second, one.choice, one.shown, one.longer, one.n)
        for one in store.contests(project)
        if one.reason == "arena" and not one.simulated
    ]
