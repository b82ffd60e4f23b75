"""Streaming users: tokens a second in all, and the 95th percentile of the time to the first token.

    python -m bench.serve --cases headline --seconds 60

`headline` holds `rlhf serve` against `transformers serve`, plain and with continuous batching; its
screen is off, as the peers have none. `screened` is the same with the screen, which shows whole
sentences alone: the first text comes later. `engine` is the local engine alone, without HTTP.
`openvino` is `rlhf serve` with that engine, held against OpenVINO's pipeline driven directly, with
as many asks at once. `votes` are votes of 64 people, 550 a second, while as many users' answers
stream as elsewhere, and how many of the acknowledged are not in the store.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.load import Heard, openai_stream, users
from bench.peers.openvino_pipeline import pipeline_stream
from bench.table import Result, publish
from bench.vote_load import answers_to_vote_on, vote
from feedback_store import Store
from rlhf.models import ModelSettings, load_tokenizer, locate_base
from rlhf.policies import base_policy
from rlhf.progress import console
from rlhf.sampling import Sampling
from rlhf.serving import settings
from rlhf.serving.engines import Ask
from rlhf.serving.engines.process import LocalEngine

_NEW_TOKENS = 64
_VOTERS, _VOTES_PER_S = 64, 550.0
_START_S = 180.0
CASES = ("headline", "screened", "engine", "openvino", "votes")


@dataclass(frozen=True)
class Measured:
    """Of one side."""

    tokens_per_s: float
    first_p95_s: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=["headline", "screened", "openvino"]
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of load, each side")
    parser.add_argument("--users", type=int, default=16)
    options = parser.parse_args()
    run = {
        "headline": _headline,
        "screened": _screened,
        "engine": _engine,
        "openvino": _openvino,
        "votes": _votes,
    }
    publish("serve", [r for case in options.cases for r in run[case](options)])


def _headline(options: argparse.Namespace) -> list[Result]:
    ours = _measured("rlhf serve", _rlhf_serve("screen.enabled=false"), options)
    peers = {
        "transformers serve": _measured("plain", _transformers_serve(), options),
        "transformers serve, continuous batching": _measured(
            "continuous batching", _transformers_serve("--continuous-batching"), options
        ),
    }
    names = dict(zip(peers, ("headline", "headline, batching peer"), strict=True))
    return [r for name, peer in peers.items() for r in _results(names[name], ours, peer, name)]


def _screened(options: argparse.Namespace) -> list[Result]:
    return _results("screened", _measured("screened", _rlhf_serve(), options), None, None)


def _engine(options: argparse.Namespace) -> list[Result]:
    return _results("engine", asyncio.run(_engine_alone(options)), None, None)


def _openvino(options: argparse.Namespace) -> list[Result]:
    ours = _measured(
        "rlhf serve, openvino", _rlhf_serve("engine.kind=openvino", "screen.enabled=false"), options
    )
    tokens = _counter()
    heard = asyncio.run(_pipeline_alone(options))
    peer = _told("OpenVINO's pipeline", heard, options, tokens)
    return _results("openvino", ours, peer, "OpenVINO's pipeline")


def _votes(options: argparse.Namespace) -> list[Result]:
    """Over HTTP, beside streaming users; each acknowledged vote is looked for in the store."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/votes.db"
        with _rlhf_serve(f"store={store}") as (url, model):
            heard, taken = asyncio.run(_beside_chats(url, model, options))
        with Store.open(store) as opened:
            stored = opened.stats()["votes"]["thumb"]
    told, p99 = len(taken) / options.seconds, float(np.percentile(taken, 99))
    _told("chats beside votes", heard, options, _counter())
    lost = len(taken) - stored
    line = f"votes: {told:.0f}/s, p99 {p99 * 1000:.0f} ms, {lost} lost"
    console.print(line, markup=False, soft_wrap=True)
    return [
        Result("votes", "speed", "votes/s", told, None, None, "higher"),
        Result("votes: p99", "speed", "s", p99, None, None, "lower"),
        Result("votes: lost", "quality", f"of {len(taken):,}", lost, None, None, "lower"),
    ]


async def _beside_chats(
    url: str, model: str, options: argparse.Namespace
) -> tuple[list[Heard], list[float]]:
    port = int(url.rsplit(":", 1)[1].partition("/")[0])
    ids = await answers_to_vote_on("127.0.0.1", port, 5_000)
    chats = asyncio.create_task(_over_http(url, model, options))
    taken = await vote(
        "127.0.0.1", port, ids, voters=_VOTERS, rate=_VOTES_PER_S, seconds=options.seconds
    )
    return await chats, taken


def _results(case: str, ours: Measured, peer: Measured | None, name: str | None) -> list[Result]:
    speed = peer.tokens_per_s if peer else None
    first = peer.first_p95_s if peer else None
    return [
        Result(case, "speed", "tokens/s", ours.tokens_per_s, speed, name, "higher"),
        Result(case, "ttft_p95", "s", ours.first_p95_s, first, name, "lower"),
    ]


# Sides


def _measured(name: str, server: Any, options: argparse.Namespace) -> Measured:
    """A server under load, after one answer that is not counted: some load at the first."""
    with server as (url, model):
        heard = asyncio.run(_over_http(url, model, options))
    return _told(name, heard, options, _counter())


async def _over_http(url: str, model: str, options: argparse.Namespace) -> list[Heard]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        stream = openai_stream(client, model, _NEW_TOKENS)
        async for _ in stream("Hello", 0):
            pass
        return await users(stream, options.users, options.seconds)


async def _engine_alone(options: argparse.Namespace) -> Measured:
    base = base_policy(settings.STOCK_MODEL)
    engine = LocalEngine(ModelSettings(base_model=base.base_model), settings.LocalEngine())
    sampling = Sampling(max_new_tokens=_NEW_TOKENS, temperature=0.7, top_p=0.95)

    async def stream(question: str, seed: int) -> Any:
        turns = ({"role": "user", "content": question},)
        ask = Ask("", turns, None, base.label, sampling, seed)  # type: ignore[arg-type]
        async for piece in engine.answer(ask):
            if piece.text:
                yield piece.text

    await engine.start()
    try:
        await engine.ready(base)
        heard = await users(stream, options.users, options.seconds)
    finally:
        await engine.close()
    return _told("engine", heard, options, _counter())


async def _pipeline_alone(options: argparse.Namespace) -> list[Heard]:
    with pipeline_stream(settings.STOCK_MODEL, _NEW_TOKENS) as stream:
        return await users(stream, options.users, options.seconds)


def _counter() -> Any:
    tokenizer = load_tokenizer(ModelSettings(base_model=settings.STOCK_MODEL))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _told(name: str, heard: list[Heard], options: argparse.Namespace, tokens: Any) -> Measured:
    """Tokens are counted in the texts, alike for all sides."""
    drawn = sum(tokens(text) for h in heard for text in h.texts)
    firsts = [first for h in heard for first in h.firsts]
    failures = sum(h.failures for h in heard)
    if failures or not firsts:
        raise SystemExit(f"serve: {name}: {failures} answers failed, {len(firsts)} came")
    found = Measured(drawn / options.seconds, float(np.percentile(firsts, 95)))
    line = f"{name}: {found.tokens_per_s:.1f} tokens/s, first token p95 {found.first_p95_s:.2f} s"
    console.print(line, markup=False, soft_wrap=True)
    return found


# Servers


@contextmanager
def _rlhf_serve(*changes: str) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        values = [f"store={folder}/feedback.db", f"port={port}", "style=none"]
        values += ["limits.requests_per_minute=1000000", *changes]
        command = [sys.executable, "-m", "rlhf.cli", "serve", *values]
        with _server(command, f"http://127.0.0.1:{port}/readyz"):
            yield f"http://127.0.0.1:{port}/v1/", settings.STOCK_MODEL


@contextmanager
def _transformers_serve(*options: str) -> Iterator[tuple[str, str]]:
    port, folder = _free_port(), locate_base(settings.STOCK_MODEL)
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", folder, "--port", str(port), "--host", "127.0.0.1", *options]
    with _server(command, f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}/v1/", folder


@contextmanager
def _server(command: list[str], ready: str) -> Iterator[None]:
    """Until it is ready, and ended by its own signal."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"serve: {' '.join(command)} did not come up")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()
