"""The upstream engine against a real server that streams, loads adapters and breaks off."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rlhf.errors import DataError, PolicyError, UsageError
from rlhf.policies import Policy, base_policy
from rlhf.sampling import Sampling
from rlhf.serving import settings
from rlhf.serving.engines import Ask, EngineFailed, Piece
from rlhf.serving.engines.upstream import UpstreamEngine

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # peft asks for it
)

BASE = "org/base"


class Upstream:
    """Says what it was asked, a word an event, with the model's name in front."""

    def __init__(self) -> None:
        self.models = {BASE}
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.open = 0
        self.status = 200
        self.breaks_off = False
        self.pause_s = 0.0
        v1 = {
            "completions": ["POST"],
            "load_lora_adapter": ["POST"],
            "unload_lora_adapter": ["POST"],
        }
        routes = [Route(f"/v1/{path}", getattr(self, path), methods=m) for path, m in v1.items()]
        routes[0] = Route("/v1/chat/completions", self.completions, methods=["POST"])
        self.app = Starlette(routes=[*routes, Route("/v1/models", self.list)])

    async def list(self, request: Request) -> Response:
        self.keys.append(request.headers.get("authorization"))
        return JSONResponse({"data": [{"id": m} for m in self.models]}, self.status)

    async def load_lora_adapter(self, request: Request) -> Response:
        body = await request.json()
        if not (Path(body["lora_path"]) / "adapter_config.json").is_file():
            return JSONResponse({"error": "no adapter"}, 404)
        self.models.add(body["lora_name"])
        return Response("Success")

    async def unload_lora_adapter(self, request: Request) -> Response:
        self.models.discard((await request.json())["lora_name"])
        return Response("Success")

    async def completions(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if self.status != 200 or body["model"] not in self.models:
            return JSONResponse(
                {"error": {"message": "secret"}}, self.status if self.status != 200 else 404
            )
        return StreamingResponse(self.events(body), media_type="text/event-stream")

    async def events(self, body: dict[str, Any]) -> AsyncIterator[str]:
        words = [" ", body["model"], *body["messages"][-1]["content"].split(" "), "\n"]
        ends = len(words) > body["max_tokens"]
        self.open += 1
        try:
            for n, word in enumerate(words[: body["max_tokens"]]):
                delta = {"role": "assistant", "content": word}
                choice = {"index": 0, "delta": delta, "finish_reason": None, "token_ids": [n]}
                chunk = {"choices": [choice], "usage": {"prompt_tokens": 5}}
                yield f"data: {json.dumps(chunk)}\n\n"
                await asyncio.sleep(self.pause_s)
            if self.breaks_off:
                return
            last = {"index": 0, "delta": {}, "finish_reason": "length" if ends else "stop"}
            yield f"data: {json.dumps({'choices': [last]})}\n\n: a comment\n\n"
            yield f"data: {json.dumps({'choices': [], 'usage': {'prompt_tokens': 5}})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            self.open -= 1


@pytest.fixture
def upstream() -> Iterator[tuple[Upstream, str]]:
    there = Upstream()
    config = uvicorn.Config(there.app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    with closing(config.bind_socket()) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield there, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join()


def run(work: Callable[[UpstreamEngine], Awaitable[None]], url: str, **values: Any) -> None:
    async def with_engine() -> None:
        engine = UpstreamEngine(settings.UpstreamEngine(kind="upstream", url=url, **values))
        await engine.start()
        assert engine.alive
        try:
            await work(engine)
        finally:
            await engine.close()
        assert not engine.alive

    asyncio.run(with_engine())


def ask(policy: Policy, text: str = "a b", most: int = 9, style: str | None = None) -> Ask:
    sampling = Sampling(max_new_tokens=most, temperature=0.5, top_p=0.9)
    turns = ({"role": "user", "content": text},)
    return Ask("i", turns, style, policy.label, sampling, -3, ("###",))  # type: ignore[arg-type]


async def pieces(engine: UpstreamEngine, asked: Ask) -> list[Piece]:
    return [piece async for piece in engine.answer(asked)]


def test_a_base_model_answers_in_pieces(
    upstream: tuple[Upstream, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, url = upstream
    base = base_policy("/somewhere/base")
    monkeypatch.setenv("UPSTREAM_KEY", "k")

    async def work(engine: UpstreamEngine) -> None:
        await engine.ready(base)
        found = await pieces(engine, ask(base, style="formal"))
        assert [p.text for p in found] == [BASE, "[STYLE:formal]\na", "b", ""]
        assert [p.finish_reason for p in found] == [None, None, None, "stop"]
        assert [p.prompt_tokens for p in found] == [5, None, None, None]
        cut = await pieces(engine, ask(base, most=3))
        assert (cut[-1].finish_reason, "".join(p.text for p in cut)) == ("length", f"{BASE}a")

    run(work, url, model=BASE, key_env="UPSTREAM_KEY")
    body = there.asked[0]
    assert (body["model"], body["seed"], body["stop"]) == (BASE, 2**31 - 3, ["###"])
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 9)
    assert "return_token_ids" not in body  # others than vLLM may refuse it
    assert there.keys[0] == "Bearer k"


def test_adapters_are_loaded_by_id_and_unloaded(
    upstream: tuple[Upstream, str], make_policy: Callable[..., Policy]
) -> None:
    there, url = upstream
    base, policy = base_policy("/somewhere/base"), make_policy(1)

    async def work(engine: UpstreamEngine) -> None:
        await engine.ready(base)
        await engine.ready(policy)
        assert there.models == {BASE, policy.id}
        both = await asyncio.gather(pieces(engine, ask(base)), pieces(engine, ask(policy)))
        assert ["".join(p.text for p in found) for found in both] == [f"{BASE}ab", f"{policy.id}ab"]
        assert both[1][0].token_ids == (0, 1)
        there.pause_s = 0.02
        under_way = asyncio.create_task(pieces(engine, ask(policy, "a b c d e f")))
        await asyncio.sleep(0.05)
        await engine.drop(policy.label)
        assert under_way.done() and under_way.result()[-1].finish_reason
        assert there.models == {BASE}
        with pytest.raises(EngineFailed, match="not ready"):
            await pieces(engine, ask(policy))

    run(work, url, model=BASE, load_adapters=True)


def test_a_policy_that_is_not_there_is_refused(
    upstream: tuple[Upstream, str], make_policy: Callable[..., Policy]
) -> None:
    policy, full = make_policy(1), make_policy(3, full=True)

    async def without(engine: UpstreamEngine) -> None:
        with pytest.raises(PolicyError, match=f"has no model {policy.id}; load it there"):
            await engine.ready(policy)

    async def loading(engine: UpstreamEngine) -> None:
        with pytest.raises(PolicyError, match=f"has no model {full.id}; load it there"):
            await engine.ready(full)

    async def one_name(engine: UpstreamEngine) -> None:
        await engine.ready(policy)
        with pytest.raises(UsageError, match=f"{BASE} answers for policy {policy.id}, and can't"):
            await engine.ready(full)

    run(without, upstream[1])
    run(loading, upstream[1], load_adapters=True)
    run(one_name, upstream[1], model=BASE)


def test_a_client_that_leaves_closes_the_stream_there(upstream: tuple[Upstream, str]) -> None:
    there, url = upstream
    there.pause_s = 0.01
    base = base_policy(BASE)

    async def work(engine: UpstreamEngine) -> None:
        await engine.ready(base)
        answer = engine.answer(ask(base, "a " * 5000, most=5000))
        await anext(answer)
        assert there.open == 1
        await answer.aclose()  # type: ignore[attr-defined]
        for _ in range(200):
            if not there.open:
                break
            await asyncio.sleep(0.01)
        assert there.open == 0

    run(work, url)


def test_failures_are_one_line_and_quote_nothing(upstream: tuple[Upstream, str]) -> None:
    there, url = upstream
    base = base_policy(BASE)

    async def work(engine: UpstreamEngine) -> None:
        await engine.ready(base)
        there.breaks_off = True
        with pytest.raises(EngineFailed, match=r"broke off an answer$"):
            await pieces(engine, ask(base))
        there.breaks_off = False
        for status, error in ((400, DataError), (401, EngineFailed), (500, EngineFailed)):
            there.status = status
            with pytest.raises(error) as told:
                await pieces(engine, ask(base))
            assert str(status) in str(told.value)
            assert "secret" not in str(told.value) and "\n" not in str(told.value)
        assert not engine.alive

    run(work, url)


def test_a_server_that_is_not_there() -> None:
    engine = UpstreamEngine(settings.UpstreamEngine(kind="upstream", url="http://127.0.0.1:9/v1"))
    with pytest.raises(EngineFailed, match=r"does not answer \(ConnectError\)$"):
        asyncio.run(engine.start())
