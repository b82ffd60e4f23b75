"""The review queue over HTTP: one answer each, a verdict once, nothing told of known answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_service import Served

from feedback_store import Feedback, Interaction, Message

Serve = Callable[..., AbstractContextManager[Served]]


def asked(id: str, **fields: Any) -> Interaction:
    messages = (Message(role="user", content=f"What is {id}?"),)
    return Interaction(id=id, messages=messages, response=f"It is {id}.", **fields)


@pytest.fixture
def locked(serve: Serve) -> Iterator[Served]:
    with serve(keys=True, review={"twice": 0.0, "gold": 0.0, "random_a_day": 100}) as served:
        for scope in ("chat", "vote", "review", "admin"):
            served.key(scope)
        yield served


@pytest.fixture
def reviewer(locked: Served) -> Iterator[httpx.Client]:
    with locked.client("review") as client:
        yield client


def other(served: Served, label: str) -> httpx.Client:
    _, secret = served.store.create_api_key(["review"], label)
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=served.url, headers=headers, timeout=30)


def take(client: httpx.Client) -> dict[str, Any] | None:
    answer = client.post("/web/review/next")
    assert answer.status_code == 200, answer.text
    return answer.json()["item"]


def test_an_answer_is_reserved_reviewed_and_the_next_one_comes(
    locked: Served, reviewer: httpx.Client
) -> None:
    assert take(reviewer) is None
    locked.store.append(interactions=[asked("a"), asked("b")])
    item = take(reviewer)
    assert item is not None and item == take(reviewer) | {"until": item["until"]}
    assert item["messages"][0]["content"] == f"What is {item['id']}?"
    assert (item["source"], item["votes"], item["can_correct"]) == ("random", [], True)
    with other(locked, "second") as second:
        theirs = take(second)
        assert theirs is not None and theirs["id"] != item["id"]
        path = f"/web/review/{item['id']}"
        for method, url, body in (
            ("POST", path, {"verdict": "accept"}),
            ("POST", f"{path}/renew", None),
            ("POST", f"{path}/votes", {"hold": True, "reason": "x"}),
        ):
            assert second.request(method, url, json=body).status_code == 409
        assert second.delete(f"/web/review/{theirs['id']}").status_code == 204
    assert reviewer.post(f"{path}/renew").json()["until"] >= item["until"]
    for _ in range(2):  # an answer that was lost is asked for again
        assert reviewer.post(path, json={"verdict": "accept"}).json()["verdict"] == "accept"
    assert reviewer.post(path, json={"verdict": "skip"}).status_code == 409
    [word] = locked.store.feedback()
    assert (word.interaction, word.value) == (item["id"], 1.0)
    last = take(reviewer)
    assert last is not None and last["id"] == theirs["id"]


def test_votes_are_shown_without_their_voters_and_can_be_held(
    locked: Served, reviewer: httpx.Client
) -> None:
    said = [
        Feedback(interaction="a", voter="u1", kind="thumb", value=-1.0, reasons=("wrong",)),
        Feedback(interaction="a", voter="u2", kind="rating", value=5.0),
        Feedback(interaction="a", voter="u3", kind="comment", text="Well."),
        Feedback(interaction="a", voter="u3", kind="implicit", metric="copied", value=1.0),
    ]
    locked.store.append(interactions=[asked("a")], feedback=said)
    item = take(reviewer)
    assert item is not None and item["source"] in ("disagreement", "random")
    told = [(vote["kind"], vote["value"], vote["text"], vote["held"]) for vote in item["votes"]]
    assert told == [
        ("thumb", -1.0, None, None),
        ("rating", 5.0, None, None),
        ("comment", None, "Well.", None),
    ]
    assert "voter" not in str(item) and "anon." not in str(item)
    path = "/web/review/a/votes"
    held = reviewer.post(path, json={"hold": True, "reason": "a push"}).json()["votes"]
    assert {vote["held"] for vote in held} == {"a push (review)"}
    assert len(locked.store.quarantined()) == 4
    free = reviewer.post(path, json={"hold": False, "reason": "no"}).json()["votes"]
    assert {vote["held"] for vote in free} == {None} and locked.store.quarantined() == []


def test_nothing_tells_a_known_answer(serve: Serve) -> None:
    with serve(keys=True, review={"twice": 0.0, "gold": 1.0}) as served:
        served.store.append(interactions=[asked("g"), asked("a")])
        served.store.set_gold("g", False)
        with served.client("review") as client:
            item = take(client)
            assert item is not None and (item["id"], item["source"]) == ("g", "random")
            plain = item.keys()
            before = client.get("/web/review/progress").json()
            assert "gold" not in str(before)
            client.post("/web/review/g", json={"verdict": "accept"})
            after = client.get("/web/review/progress").json()
            assert after["sources"]["random"]["today"] == 1
            assert after["reviewers"] == [
                {"name": "review", "you": True, "today": 1, "total": 1, "accuracy": None}
            ]
            second = take(client)
            assert second is not None and second["id"] == "a" and second.keys() == plain
        with served.client("admin") as admin:
            [one] = admin.get("/web/review/progress").json()["reviewers"]
            assert (one["accuracy"]["n"], one["accuracy"]["rate"]) == (1, 0.0)


MALFORMED: list[tuple[dict[str, Any], int]] = [
    ({"verdict": "maybe"}, 400),
    ({"verdict": "accept", "why": "x"}, 400),
    ({"verdict": "reject", "reasons": ["x" * 301]}, 400),
    ({"verdict": "reject", "reasons": ["\x00"]}, 400),
    ({"verdict": "reject"}, 422),
    ({"verdict": "correct", "text": " "}, 422),
    ({"verdict": "correct", "text": "\ud800"}, 400),
]


def test_what_is_malformed_writes_nothing(locked: Served, reviewer: httpx.Client) -> None:
    locked.store.append(interactions=[asked("a")])
    take(reviewer)
    mark = locked.store.watermark()
    headers = {"Content-Type": "application/json"}
    for body, status in MALFORMED:
        answer = reviewer.post("/web/review/a", content=json.dumps(body), headers=headers)
        assert answer.status_code == status and "error" in answer.json(), (body, answer.text)
    assert locked.store.watermark() == mark


def test_only_reviewers(locked: Served) -> None:
    calls = (
        ("POST", "/web/review/next"),
        ("POST", "/web/review/a"),
        ("POST", "/web/review/a/renew"),
        ("POST", "/web/review/a/votes"),
        ("DELETE", "/web/review/a"),
        ("GET", "/web/review/progress"),
        ("GET", "/web/releases"),
    )
    with locked.client("chat") as chat, locked.client("vote") as vote, locked.client() as nobody:
        for method, path in calls:
            assert chat.request(method, path).status_code == 403
            assert vote.request(method, path).status_code == 403
            assert nobody.request(method, path).status_code == 401


def test_guidelines_are_a_file_or_ours(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "look.md").write_text("# Look\nat this", encoding="utf-8")
    with serve(review={"guidelines": "look.md"}) as served, served.client() as client:
        assert client.get("/web/review/progress").json()["guidelines"] == "# Look\nat this"
    with serve() as served, served.client() as client:
        assert client.get("/web/review/progress").json()["guidelines"] is None
