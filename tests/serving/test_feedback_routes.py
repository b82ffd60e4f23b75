"""Votes over HTTP: with keys and with tokens, one by one and many, taken back and early."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from http_service import Served

from feedback_store import NotFound, new_id

THUMB = "/v1/interactions/{}/feedback/thumb"


@pytest.fixture
def client(reciting_server: Served) -> Iterator[httpx.Client]:
    with reciting_server.client() as client:
        yield client


@pytest.fixture
def answer(reciting_server: Served) -> dict[str, object]:
    return reciting_server.ask("say hello", user="asker").json()


def test_a_vote_and_a_changed_mind(
    reciting_server: Served, client: httpx.Client, answer: dict[str, str]
) -> None:
    where = THUMB.format(answer["id"])
    said = {"value": 1, "voter": "u1", "reasons": ["kind"]}
    first = client.put(where, json=said)
    assert first.status_code == 200
    assert first.json() == {"interaction": answer["id"], "metric": "thumb", "waiting": False}
    assert client.put(where, json={"value": -1, "voter": "u1"}).status_code == 200
    assert client.put(where, json={"value": 1, "voter": "u2"}).status_code == 200
    live = client.get(where, params={"voter": "u1"}).json()
    assert (live["value"], live["revision"], live["kind"]) == (-1, 2, "thumb")
    assert client.delete(where, params={"voter": "u1"}).status_code == 204
    assert client.get(where, params={"voter": "u1"}).status_code == 404
    assert client.delete(where, params={"voter": "u1"}).status_code == 404
    assert reciting_server.store.live_feedback(answer["id"], "u2", "thumb").value == 1


@pytest.mark.parametrize(
    ("metric", "body"),
    [
        ("rating", {"value": 4}),
        ("comment", {"text": "Kind, but too long."}),
        ("correction", {"text": "On Friday.\x00"}),
        ("implicit", {"value": 0.25}),
        ("thumb", {"value": 1, "client_time": "2026-11-01T12:00:00+08:00"}),
    ],
)
def test_every_kind(
    client: httpx.Client, answer: dict[str, str], metric: str, body: dict[str, object]
) -> None:
    where = f"/v1/interactions/{answer['id']}/feedback/{metric}"
    assert client.put(where, json={**body, "voter": "u"}).status_code == 200
    live = client.get(where, params={"voter": "u"}).json()
    assert live["kind"] == metric and live["value"] == body.get("value")
    assert live["text"] == (str(body["text"]).strip("\x00") if "text" in body else None)


def test_a_token_votes_without_a_key_for_its_own_voter_alone(
    reciting_server: Served, client: httpx.Client, answer: dict[str, dict[str, str]]
) -> None:
    where, token = THUMB.format(answer["id"]), answer["feedback"]["token"]
    by_header = {"X-Vote-Token": token}
    assert client.put(where, json={"value": 1}, headers=by_header).status_code == 200
    as_bearer = {"Authorization": f"Bearer {token}"}
    assert client.get(where, headers=as_bearer).json()["value"] == 1
    assert reciting_server.store.live_feedback(str(answer["id"]), "asker", "thumb").value == 1
    refused = client.put(where, json={"value": 1, "voter": "somebody else"}, headers=by_header)
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "other_voter"
    other = reciting_server.ask("say bye").json()
    assert (
        client.put(THUMB.format(other["id"]), json={"value": 1}, headers=by_header).status_code
        == 403
    )
    assert client.delete(where, headers=by_header).status_code == 204


def test_guests_of_one_conversation_are_one_voter(reciting_server: Served) -> None:
    a, b = (reciting_server.ask("say x", conversation="c-77").json() for _ in range(2))
    with reciting_server.client() as client:
        for one in (a, b):
            where, token = THUMB.format(one["id"]), one["feedback"]["token"]
            client.put(where, json={"value": 1}, headers={"X-Vote-Token": token})
    words = [w for w in reciting_server.store.feedback() if w.interaction in (a["id"], b["id"])]
    assert len({word.voter for word in words}) == 1 and len(words) == 2


def test_the_same_key_stores_once_and_another_body_under_it_is_a_conflict(
    reciting_server: Served, client: httpx.Client, answer: dict[str, str]
) -> None:
    where, key = THUMB.format(answer["id"]), {"Idempotency-Key": new_id()}
    said = {"value": 1, "voter": "u"}
    for _ in range(3):
        assert client.put(where, json=said, headers=key).status_code == 200
    assert reciting_server.store.live_feedback(answer["id"], "u", "thumb").revision == 1
    again = client.put(where, json={**said, "value": -1}, headers=key)
    assert again.status_code == 409 and again.json()["error"]["code"] == "conflict"
    # Another's key of the same name is another key.
    token = {"X-Vote-Token": answer["feedback"]["token"], **key}  # type: ignore[index]
    assert client.put(where, json={"value": -1}, headers=token).status_code == 200


def test_an_early_vote_waits_for_its_answer(reciting_server: Served, client: httpx.Client) -> None:
    id = new_id()
    early = client.put(THUMB.format(id), json={"value": 1, "voter": "u"})
    assert early.status_code == 202 and early.json()["waiting"] is True
    assert client.get(THUMB.format(id), params={"voter": "u"}).status_code == 404
    told = {"id": id, "messages": [{"role": "user", "content": "hi"}], "response": "hello"}
    assert client.post("/v1/interactions", json=told).status_code == 201
    assert client.get(THUMB.format(id), params={"voter": "u"}).json()["value"] == 1


@pytest.mark.parametrize(
    ("metric", "body", "status", "words"),
    [
        ("thumb", {"value": 0.5}, 422, "1 or -1"),
        ("rating", {"value": 9}, 422, "between 1 and 5"),
        ("rating", {"value": 3, "kind": "thumb"}, 422, "1 or -1"),
        ("thumb", {}, 422, "value"),
        ("comment", {"text": "   "}, 422, "text"),
        ("thumbs", {"value": 1}, 404, "thumb"),
        ("thumb", {"value": "1"}, 400, "value"),
        ("thumb", {"value": 1, "policy": "p"}, 400, "policy"),
        ("thumb", {"value": 1, "simulated": True}, 400, "simulated"),
        ("thumb", {"value": 1, "solicited": True}, 400, "solicited"),
        ("thumb", {"value": 1, "sampling": {}}, 400, "sampling"),
        ("thumb", {"value": 1, "created_at": "2020-01-01T00:00:00Z"}, 400, "created_at"),
        ("comment", {"text": "x" * 200_001}, 400, "text"),
    ],
)
def test_what_is_refused_says_why_in_one_short_line(
    reciting_server: Served,
    client: httpx.Client,
    answer: dict[str, str],
    metric: str,
    body: dict[str, object],
    status: int,
    words: str,
) -> None:
    before = reciting_server.store.watermark()
    where = f"/v1/interactions/{answer['id']}/feedback/{metric}"
    refused = client.put(where, json={"voter": "u", **body})
    assert refused.status_code == status
    message = refused.json()["error"]["message"]
    assert words in message and len(message) < 320 and "\n" not in message
    assert reciting_server.store.watermark() == before


def test_bodies_that_are_not_json(client: httpx.Client, answer: dict[str, str]) -> None:
    where, plain = THUMB.format(answer["id"]), {"Content-Type": "text/plain"}
    assert client.put(where, content=b'{"value": 1}', headers=plain).status_code == 415
    json = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"[]", b"NaN", b'{"value": NaN}', b"[" * 100_000, b"\xff\xfe"):
        assert client.put(where, content=content, headers=json).status_code == 400


def test_a_batch_is_stored_whole_or_not_at_all(
    reciting_server: Served, client: httpx.Client, answer: dict[str, str]
) -> None:
    good = [
        {"interaction": answer["id"], "metric": "thumb", "value": 1, "voter": f"v{n}"}
        for n in range(200)
    ]
    stored = client.post("/v1/feedback:batch", json={"votes": good})
    assert stored.json() == {"stored": 200, "waiting": 0}
    before = reciting_server.store.watermark()
    for row, bad, status in [
        (7, {"value": 0.5}, 422),
        (8, {"value": None}, 422),
        (9, {"metric": "nothing"}, 404),
        (3, {"voter": ""}, 400),
        (4, {"interaction": "../x"}, 400),
    ]:
        votes = [dict(vote) for vote in good]
        votes[row].update(bad)  # type: ignore[arg-type]
        refused = client.post("/v1/feedback:batch", json={"votes": votes})
        assert refused.status_code == status
        assert f"votes.{row}" in refused.json()["error"]["message"]
    assert client.post("/v1/feedback:batch", json={"votes": good * 6}).status_code == 400
    assert reciting_server.store.watermark() == before
    early = [{**good[0], "interaction": new_id()}]
    assert client.post("/v1/feedback:batch", json={"votes": early}).json()["waiting"] == 1


def test_comparisons(reciting_server: Served, client: httpx.Client) -> None:
    one, two = (reciting_server.ask("say x", user="judge").json() for _ in range(2))
    a, b = one["id"], two["id"]
    said = {"a": a, "b": b, "choice": "a", "shown_first": "b", "reason": "arena", "voter": "u"}
    assert client.post("/v1/comparisons", json=said).json() == {"a": a, "b": b, "waiting": False}
    assert reciting_server.store.live_comparison(a, b, "u").shown_first == "b"
    pair = {"a": b, "b": a, "voter": "u"}
    assert client.delete("/v1/comparisons", params=pair).status_code == 204
    with pytest.raises(NotFound):
        reciting_server.store.live_comparison(a, b, "u")
    assert client.post("/v1/comparisons", json={**said, "b": a}).status_code == 422
    tokens = {"X-Vote-Token": f"{one['feedback']['token']},{two['feedback']['token']}"}
    by_token = {key: value for key, value in said.items() if key != "voter"}
    assert client.post("/v1/comparisons", json=by_token, headers=tokens).status_code == 200
    assert reciting_server.store.live_comparison(a, b, "judge").choice == "a"
    swapped = {"X-Vote-Token": f"{two['feedback']['token']},{one['feedback']['token']}"}
    assert client.post("/v1/comparisons", json=by_token, headers=swapped).status_code == 403
    half = {"X-Vote-Token": one["feedback"]["token"]}
    assert client.post("/v1/comparisons", json=by_token, headers=half).status_code == 403
    stranger = reciting_server.ask("say x", user="another").json()["feedback"]["token"]
    mixed = {"X-Vote-Token": f"{one['feedback']['token']},{stranger}"}
    assert client.post("/v1/comparisons", json=by_token, headers=mixed).status_code == 403
    assert (
        client.delete("/v1/comparisons", params={"a": a, "b": b}, headers=tokens).status_code == 204
    )
