"""The whole service over its own engine in a process of its own, with a tiny model in it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from http_service import Served, config_of, serving

from feedback_store import printable
from rlhf.models import load_tokenizer
from rlhf.policies import Policy
from rlhf.release import promote, register
from rlhf.serving.engines.make import make_engine

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # peft asks for it
)

QUESTION = [{"role": "user", "content": "Tell me about rivers."}]


@pytest.fixture(scope="module")
def real(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("real")
    config = config_of(tiny_model, folder, poll_seconds=0.1, screen={"enabled": False})
    with serving(config, make_engine(config), folder) as served:
        yield served


def client_of(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def test_an_answer_whole_and_streamed_is_the_same_and_as_recorded(real: Served) -> None:
    settings = {"model": "champion", "messages": QUESTION, "seed": 5, "max_tokens": 20}
    tokenizer = load_tokenizer(real.service.config.model_settings())
    with client_of(real) as client:
        whole = client.chat.completions.create(**settings)
        text, id = "", ""
        for chunk in client.chat.completions.create(**settings, stream=True):
            text, id = text + (chunk.choices[0].delta.content or ""), chunk.id
    assert whole.choices[0].message.content == text
    for kept in (real.store.interaction(whole.id), real.store.interaction(id)):
        assert kept.response == text and kept.finish_reason in ("stop", "length")
        assert kept.response_token_ids is not None and kept.prompt_tokens
        said = str(tokenizer.decode(kept.response_token_ids, skip_special_tokens=True))
        assert printable(said).strip() == text.strip()


def test_a_new_champion_answers_while_answers_stream_and_none_fails(
    real: Served, make_policy: Callable[..., Policy]
) -> None:
    """Each recorded version is the one that the response named."""
    policies = [make_policy(seed) for seed in (1, 2, 3)]
    store, stop = real.store, threading.Event()
    named: dict[str, str] = {}
    failed: list[Exception] = []

    def ask(n: int) -> None:
        with client_of(real) as client:
            while not stop.is_set():
                try:
                    for chunk in client.chat.completions.create(
                        model="champion", messages=QUESTION, max_tokens=12, stream=True, user=str(n)
                    ):
                        named[chunk.id] = chunk.model
                except Exception as error:
                    failed.append(error)

    askers = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for asker in askers:
        asker.start()
    try:
        for policy in policies:
            register(store, policy)
            assert policy.id is not None
            promote(store, policy.id, "a test", "default")
            end = time.monotonic() + 30
            while policy.id not in named.values():
                assert time.monotonic() < end, "the new champion doesn't answer"
                time.sleep(0.05)
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert failed == []
    base = Path(real.service.config.base_model).name
    for id, model in named.items():
        assert (store.interaction(id).policy or base) == model


def test_an_engine_that_is_killed_in_mid_answer(real: Served) -> None:
    body = {"model": "champion", "messages": QUESTION, "max_tokens": 500, "stream": True}
    with real.client() as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            id = next(line for line in lines if line).split('"id": "')[1].split('"')[0]
            os.kill(real.service.engine._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            told = "".join(lines)
        assert "[DONE]" not in told and "engine_unavailable" in told
        assert real.store.interaction(id).finish_reason == "error"
        end = time.monotonic() + 60
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < end, "the engine did not come back"
            time.sleep(0.1)
        assert real.ask("Tell me more.", max_tokens=4).status_code == 200
