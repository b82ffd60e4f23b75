"""Every answer is recorded, however it ends, and before its client hears the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from http_service import Served
from reciting import Reciting

from feedback_store import Unavailable
from rlhf.serving import operator_routes

# Breaks a built-in rule (finance.promise).
BAD = "This fund gives you guaranteed returns on your money."

Serve = Callable[..., AbstractContextManager[Served]]


def chat(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "champion", "messages": [{"role": "user", "content": content}], **more}


def events(lines: list[str]) -> list[Any]:
    found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [event if event == "[DONE]" else json.loads(event) for event in found]


def shown(found: list[Any]) -> str:
    deltas = [e["choices"][0]["delta"] for e in found if e != "[DONE]" and e.get("choices")]
    return "".join(delta.get("content", "") for delta in deltas)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("content", ["forever", "never"])
def test_a_client_that_goes_away_stops_its_answer(serve: Serve, stream: bool, content: str) -> None:
    engine = Reciting()
    with serve(engine, limits={"max_new_tokens": 100_000}) as served:
        body = chat(content, stream=stream, max_tokens=100_000)
        with served.client() as client, pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=body, timeout=0.4)
        (kept,) = served.recorded(1)
        assert engine.closed == [kept.id], "the engine goes on"
        assert kept.finish_reason == "cancelled"
        words = kept.response.split()
        assert len(words) == kept.completion_tokens
        assert (1 <= len(words) <= 40) if content == "forever" else not words
        served.wait_until_idle()


def test_a_client_that_goes_away_in_mid_stream(serve: Serve) -> None:
    engine = Reciting()
    with serve(engine, limits={"max_new_tokens": 100_000}) as served:
        body = chat("slowly " + "one. " * 500, stream=True, max_tokens=100_000)
        read = ""
        with (
            served.client() as client,
            client.stream("POST", "/v1/chat/completions", json=body) as response,
        ):
            for line in response.iter_lines():
                read += shown(events([line]))
                if len(read) > 20:
                    break
        (kept,) = served.recorded(1)
        assert kept.finish_reason == "cancelled" and kept.response.startswith(read)
        assert len(kept.response) < 500 and engine.closed == [kept.id]


def test_time_over_ends_an_answer_with_what_is_there(serve: Serve) -> None:
    limits = {"seconds": 0.4, "max_new_tokens": 100_000}
    with serve(limits=limits) as served:
        answer = served.ask("forever", max_tokens=100_000)
        assert answer.status_code == 200
        choice = answer.json()["choices"][0]
        assert choice["finish_reason"] == "length" and choice["message"]["content"]
        streamed = served.ask("forever", max_tokens=100_000, stream=True)
        found = events(streamed.text.splitlines())
        assert found[-1] == "[DONE]" and found[-2]["choices"][0]["finish_reason"] == "length"
        nothing = served.ask("never")
        assert nothing.status_code == 503 and nothing.json()["error"]["code"] == "timeout"
        kept = served.recorded(3)
        assert [k.finish_reason for k in kept] == ["length", "length", "error"]
        assert [k.response for k in kept] == [choice["message"]["content"], shown(found), ""]


def test_an_engine_that_breaks_down(serve: Serve) -> None:
    with serve() as served:
        whole = served.ask("break one. two")
        assert whole.status_code == 503 and "Retry-After" in whole.headers
        assert whole.json()["error"]["code"] == "engine_unavailable"
        assert "status 9" not in whole.text
        found = events(served.ask("break one. two", stream=True).text.splitlines())
        assert "[DONE]" not in found and found[-1]["error"]["type"] == "server_error"
        for kept in served.recorded(2):
            assert (kept.finish_reason, kept.response) == ("error", "one. two")


def test_a_blocked_answer_is_never_shown(serve: Serve) -> None:
    with serve() as served:
        refusal = served.service.config.screen.refusal_en
        whole = served.ask(f"say {BAD}").json()
        choice = whole["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert choice["message"]["content"] == refusal
        found = events(served.ask(f"say Hello there. {BAD}", stream=True).text.splitlines())
        assert shown(found) == f"Hello there.\n\n{refusal}"
        assert found[-2]["choices"][0]["finish_reason"] == "content_filter"
        for kept, text in zip(served.recorded(2), (refusal, shown(found)), strict=True):
            assert kept.finish_reason == "content_filter" and kept.blocked
            assert kept.response == text and kept.response_token_ids is None


def test_too_many_answers_at_once(serve: Serve) -> None:
    with serve(limits={"waiting": 2, "max_new_tokens": 100_000}) as served:
        body = chat("forever", stream=True, max_tokens=100_000)
        with served.client() as client:
            streams = [client.build_request("POST", "/v1/chat/completions", json=body)] * 2
            open_ones = [client.send(request, stream=True) for request in streams]
            refused = client.post("/v1/chat/completions", json=chat("say x"))
            assert refused.status_code == 429 and refused.headers["Retry-After"]
            assert refused.json()["error"]["code"] == "too_many_answers"
            for response in open_ones:
                response.close()
        served.recorded(2)
        assert served.ask("say x").status_code == 200


def test_what_could_not_be_recorded_is_no_success(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> int:
        raise Unavailable("store.db: the disk is full")

    with serve() as served:
        monkeypatch.setattr(type(served.store), "append", full)
        whole = served.ask("say x")
        assert whole.status_code == 503 and whole.json()["error"]["code"] == "store_unavailable"
        assert "store.db" not in whole.text
        found = events(served.ask("say x", stream=True).text.splitlines())
        assert "[DONE]" not in found and found[-1]["error"]["code"] == "store_unavailable"
        with served.client() as client:
            vote = client.put("/v1/interactions/a/feedback/thumb", json={"value": 1})
        assert vote.status_code == 503 and vote.headers["Retry-After"]


def test_stopping_the_server_lets_answers_end(serve: Serve) -> None:
    with serve() as served, served.client() as client:
        body = chat("slowly " + "one. " * 20, stream=True)
        response = client.send(
            client.build_request("POST", "/v1/chat/completions", json=body), stream=True
        )
        lines = response.iter_lines()
        next(lines)
        store = served.store
        served.stop()
        assert events(list(lines))[-1] == "[DONE]"
        (kept,) = store.interactions()
        assert kept.finish_reason == "stop"


def test_solicited_and_consent(serve: Serve) -> None:
    with serve(solicited=0.5) as served:
        told = [served.ask("say x", consent=n % 2 == 0).json() for n in range(40)]
        kept = {k.id: k for k in served.recorded(40)}
        for n, answer in enumerate(told):
            assert kept[answer["id"]].solicited == answer["feedback"]["solicited"]
            assert kept[answer["id"]].consent is (n % 2 == 0)
        assert 5 < sum(k.solicited for k in kept.values()) < 35
    with serve(solicited=0.0) as served:
        body = chat("say x", solicited=True)
        with served.client() as client:
            told = client.post("/v1/chat/completions", json=body).json()
        assert told["feedback"]["solicited"] is False


def test_readiness_follows_engine_and_store(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Reciting()
    with serve(engine) as served, served.client() as client:
        assert client.get("/readyz").status_code == 200
        monkeypatch.setattr(operator_routes, "_FRESH_S", 0.0)
        engine.alive = False
        away = client.get("/readyz")
        assert away.status_code == 503 and away.json()["reasons"] == ["the engine doesn't answer"]
        engine.alive = True

        def locked(store: object) -> None:
            raise Unavailable("store.db: held")

        monkeypatch.setattr(type(served.store), "check_writable", locked)
        away = client.get("/readyz")
        assert away.status_code == 503
        assert away.json()["reasons"] == ["the store can't be written"]
        assert client.get("/healthz").json() == {"status": "ok"}


def test_figures(serve: Serve) -> None:
    with serve() as served, served.client() as client:
        id = served.ask("say one two").json()["id"]
        client.put(f"/v1/interactions/{id}/feedback/thumb", json={"value": 1})
        text = client.get("/metrics").text
        assert 'rlhf_answers_total{finish_reason="stop",role="champion"} 1.0' in text
        assert 'rlhf_votes_total{kind="thumb"} 1.0' in text
        assert 'rlhf_tokens_total{kind="completion"} 2.0' in text
        assert "rlhf_engine_up 1.0" in text and "rlhf_answers_under_way 0.0" in text
