"""Answers that another server gave."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from http_service import Served

from feedback_store import new_id

ROW = {
    "messages": [{"role": "user", "content": "When does it come?"}],
    "response": "On Friday.",
    "conversation": "c-9",
    "turn": 1,
    "policy": "0123456789abcdef",
    "finish_reason": "stop",
    "style_used": "concise",
    "sampling": {"temperature": 0.3, "top_k": 40, "note": "x", "greedy": False},
    "assignment_probability": 0.5,
    "response_token_ids": [5, 6, 7],
    "completion_tokens": 3,
    "latency_ms": 40.5,
    "user": "someone@example.com",
    "consent": False,
}


@pytest.fixture
def client(reciting_server: Served) -> Iterator[httpx.Client]:
    with reciting_server.client() as client:
        yield client


def test_one_is_recorded_and_its_user_votes_with_the_token(
    reciting_server: Served, client: httpx.Client
) -> None:
    told = client.post("/v1/interactions", json=ROW)
    assert told.status_code == 201
    id, token = told.json()["id"], told.json()["feedback"]["token"]
    kept = reciting_server.store.interaction(id)
    for name in ("response", "conversation", "turn", "policy", "finish_reason", "style_used"):
        assert getattr(kept, name) == ROW[name]
    assert kept.sampling == ROW["sampling"] and kept.consent is False
    assert kept.response_token_ids == (5, 6, 7) and kept.assignment_probability == 0.5
    assert kept.project == "default" and kept.simulated is False
    assert kept.user == reciting_server.store.pseudonym("someone@example.com")
    vote = client.put(
        f"/v1/interactions/{id}/feedback/thumb", json={"value": 1}, headers={"X-Vote-Token": token}
    )
    assert vote.status_code == 200
    live = reciting_server.store.live_feedback(id, "someone@example.com", "thumb")
    assert live.value == 1


def test_many_are_recorded_in_order_or_not_at_all(
    reciting_server: Served, client: httpx.Client
) -> None:
    rows = [{**ROW, "response": f"answer {n}"} for n in range(50)]
    told = client.post("/v1/interactions", json={"interactions": rows}).json()["interactions"]
    for n, row in enumerate(told):
        assert reciting_server.store.interaction(row["id"]).response == f"answer {n}"
    before = reciting_server.store.watermark()
    rows[30] = {**rows[30], "finish_reason": "bored"}
    refused = client.post("/v1/interactions", json={"interactions": rows})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "interactions.30.finish_reason"
    assert client.post("/v1/interactions", json={"interactions": []}).status_code == 400
    assert reciting_server.store.watermark() == before


def test_an_id_of_ones_own_is_taken_once(client: httpx.Client) -> None:
    row = {**ROW, "id": new_id()}
    assert client.post("/v1/interactions", json=row).json()["id"] == row["id"]
    assert client.post("/v1/interactions", json=row).status_code == 201
    other = client.post("/v1/interactions", json={**row, "response": "no"})
    assert other.status_code == 409


def test_an_idempotency_key_gives_the_same_ids_again(
    reciting_server: Served, client: httpx.Client
) -> None:
    key = {"Idempotency-Key": new_id()}
    first = client.post("/v1/interactions", json=ROW, headers=key).json()["id"]
    before = reciting_server.store.watermark()
    assert client.post("/v1/interactions", json=ROW, headers=key).json()["id"] == first
    assert reciting_server.store.watermark() == before
    other = client.post("/v1/interactions", json={**ROW, "response": "no"}, headers=key)
    assert other.status_code == 409


@pytest.mark.parametrize(
    "change",
    [
        {"project": "other"},
        {"solicited": True},
        {"seq": 1},
        {"created_at": "2020-01-01T00:00:00Z"},
        {"blocked": "x"},
        {"messages": []},
        {"response": None},
        {"id": "../../x"},
        {"sampling": {"a": {"b": 1}}},
        {"assignment_probability": 0},
        {"one": True},
    ],
)
def test_what_the_server_stamps_and_what_is_malformed_is_refused(
    reciting_server: Served, client: httpx.Client, change: dict[str, object]
) -> None:
    before = reciting_server.store.watermark()
    refused = client.post("/v1/interactions", json={**ROW, **change})
    assert refused.status_code == 400
    assert next(iter(change)) in refused.json()["error"]["message"]
    assert reciting_server.store.watermark() == before


def test_personal_data_is_taken_out(reciting_server: Served, client: httpx.Client) -> None:
    row = {**ROW, "response": "Write to mary.miller@example.com"}
    id = client.post("/v1/interactions", json=row).json()["id"]
    assert reciting_server.store.interaction(id).response == "Write to <EMAIL>"
