"""Promote, roll back, freeze and thaw over HTTP, taken up by the running service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from http_service import Served

from feedback_store import Decision, ErasedSnapshot, Snapshot, Store, Taint
from rlhf.policies import Policy
from rlhf.release import register

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="module")
def two(make_policy: Callable[..., Policy]) -> tuple[Policy, Policy]:
    return make_policy(1), make_policy(2)


@pytest.fixture
def served(serve: Serve, two: tuple[Policy, Policy]) -> Iterator[Served]:
    with serve(keys=True, poll_seconds=0.05) as found:
        for policy in two:
            register(found.store, policy)
        found.store.add_decision(
            Decision(id="d1", candidate=two[1].label, promote=False, reasons=("refused: short",))
        )
        found.key("review")
        yield found


@pytest.fixture
def admin(served: Served) -> Iterator[httpx.Client]:
    with served.client("admin") as client:
        yield client


def change(client: httpx.Client, what: str, **body: Any) -> httpx.Response:
    return client.post(f"/web/releases/{what}", json={"reason": "by the team", **body})


def answers(served: Served, label: str) -> None:
    end = time.monotonic() + 10
    while served.service.traffic.models()[0].policy.label != label:
        assert time.monotonic() < end, "not taken up"
        time.sleep(0.02)


def test_promote_and_roll_back_reach_the_users(
    served: Served, admin: httpx.Client, two: tuple[Policy, Policy]
) -> None:
    first, second = (policy.label for policy in two)
    assert admin.get("/web/releases").json()["champion"] is None
    for policy in (first, second):
        began = time.monotonic()
        done = change(admin, "promote", policy=policy)
        assert done.status_code == 200 and time.monotonic() - began < 1
        answers(served, policy)
    assert change(admin, "rollback").json()["release"]["policy"] == first
    answers(served, first)
    told = admin.get("/web/releases").json()
    assert [(one["action"], one["policy"]) for one in told["history"]] == [
        ("rollback", first),
        ("promote", second),
        ("promote", first),
    ]
    assert {one["reason"] for one in told["history"]} == {"by the team (admin)"}
    assert (told["champion"], told["previous"], told["serving"]) == (first, second, first)
    [candidate] = told["candidates"]
    assert candidate["id"] == second and candidate["decision"]["reasons"] == ["refused: short"]


def test_a_freeze_refuses_and_a_thaw_lets(
    served: Served, admin: httpx.Client, two: tuple[Policy, Policy]
) -> None:
    first, second = (policy.label for policy in two)
    for policy in (first, second):
        change(admin, "promote", policy=policy)
    assert change(admin, "freeze").json()["frozen"]["reason"] == "by the team (admin)"
    assert admin.get("/web/releases").json()["frozen"]["reason"] == "by the team (admin)"
    refused = change(admin, "promote", policy=first)
    assert refused.status_code == 409
    assert "frozen (by the team (admin))" in refused.json()["error"]["message"]
    assert change(admin, "rollback").status_code == 200
    assert change(admin, "thaw").json() == {"frozen": None}
    assert change(admin, "promote", policy=second).status_code == 200


MISTAKES: list[tuple[str, dict[str, Any], int]] = [
    ("promote", {"policy": "nothing"}, 409),
    ("promote", {"policy": "../x"}, 400),
    ("promote", {}, 400),
    ("promote", {"policy": "x", "reason": "  "}, 400),
    ("rollback", {}, 409),
    ("freeze", {"reason": ""}, 400),
    ("freeze", {"reason": "\x07"}, 422),
    ("thaw", {"until": "x"}, 400),
]


def test_a_mistake_is_told_in_a_line(served: Served, admin: httpx.Client) -> None:
    for what, body, status in MISTAKES:
        answer = change(admin, what, **body)
        assert answer.status_code == status, (what, body, answer.text)
        assert "\n" not in answer.json()["error"]["message"]
    assert served.store.releases() == [] and served.store.frozen("default") is None


def test_only_admins_change(served: Served) -> None:
    with served.client("review") as reviewer:
        told = reviewer.get("/web/releases").json()
        assert told["may_change"] is False and told["problems"] == []
        for what in ("promote", "rollback", "freeze", "thaw"):
            assert change(reviewer, what, policy="x").status_code == 403


def test_taint_is_told(served: Served, admin: httpx.Client, two: tuple[Policy, Policy]) -> None:
    _tainted(served.store, two[1].label)
    change(admin, "promote", policy=two[1].label)
    told = admin.get("/web/releases").json()
    assert len(told["history"][0]["tainted"]) == len(told["candidates"][0]["tainted"]) == 1


def _tainted(store: Store, policy: str) -> None:
    from feedback_store import Interaction, Message

    asked = (Message(role="user", content="q"),)
    store.append(interactions=[Interaction(id="i", messages=asked, response="r", user="pat")])
    erasure = store.begin_erasure(store.person(user="pat"))
    snapshot = Snapshot(id="s", path="/s", project="default", watermark=1, counts={}, manifest={})
    store.add_snapshot(snapshot)
    taint = Taint(policy=policy, erasure=erasure.id, through="snapshot", source="s")
    store.replace_snapshot(ErasedSnapshot(snapshot="s", erasure=erasure.id), [taint])
