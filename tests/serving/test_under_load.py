"""The service as a process of its own: killed while people vote, swapped while they ask."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from own_process import running, url_of, wait_for

from bench.vote_load import answers_to_vote_on, call
from feedback_store import Store, printable
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, load_policy
from rlhf.release import promote, register
from rlhf.sampling import LocalSampler, Prompt, Sampling

VOTERS, ASKERS, TOKENS = 200, 8, 12
QUESTIONS = [f"tell me of number {n} and of {n * n}" for n in range(ASKERS)]


def settings(tiny_model: Path) -> list[str]:
    values = {"base_model": tiny_model, "dtype": "float32", "store": "s.db", "port": 0}
    values |= {"limits.requests_per_minute": 10_000_000, "poll_seconds": 0.1, "style": "none"}
    return [f"{name}={value}" for name, value in values.items()]


async def vote_until(port: int, ids: list[str], kill: Callable[[], None]) -> list[tuple[str, str]]:
    """The votes that were acknowledged before and while the service was killed."""
    told: list[tuple[str, str]] = []

    async def voter(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in range(10_000):
            id, name = ids[(number + turn) % len(ids)], f"v{number}-{turn}"
            path = f"/v1/interactions/{id}/feedback/thumb"
            try:
                status, _ = await call(reader, writer, "PUT", path, {"value": 1, "voter": name})
            except (ConnectionError, asyncio.IncompleteReadError):
                break
            assert status == 200
            told.append((id, name))
        writer.close()

    voters = [asyncio.create_task(voter(number)) for number in range(VOTERS)]
    await asyncio.sleep(2.0)
    kill()
    await asyncio.gather(*voters)
    return told


def test_a_killed_service_has_every_vote_that_it_acknowledged(here: Path, tiny_model: Path) -> None:
    with running(here, "serve", *settings(tiny_model)) as (log, server):
        url = wait_for("a service", lambda: url_of(log), 120, log)
        port = int(url.rsplit(":", 1)[1])
        ids = asyncio.run(answers_to_vote_on("127.0.0.1", port, 500))
        told = asyncio.run(vote_until(port, ids, server.kill))
    assert len(told) > VOTERS
    with Store.open("s.db") as store:
        stored = Counter((vote.interaction, vote.voter) for vote in store.feedback())
        for id, name in told:
            assert stored[id, store.pseudonym(name)] == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_fifty_champions_change_under_load(
    here: Path,
    tiny_model: Path,
    tiny_settings: ModelSettings,
    make_policy: Callable[..., Policy],
) -> None:
    policies = [make_policy(1), make_policy(2, "k_proj", "down_proj")]
    sampling = Sampling(max_new_tokens=TOKENS, temperature=1.0)
    expected: dict[tuple[str, str], str] = {}
    for policy in policies:
        sampler = LocalSampler(load_policy(tiny_settings, policy), load_tokenizer(tiny_settings))
        for seed, question in enumerate(QUESTIONS):
            prompt = Prompt(({"role": "user", "content": question},))
            said = sampler.sample([prompt], sampling, seed=seed)[0]
            expected[policy.label, question] = printable(said.text).strip()
    assert len(set(expected.values())) > len(QUESTIONS)
    with Store.open("s.db") as store:
        for policy in policies:
            register(store, policy)
        promote(store, policies[0].label, "first", "default")
        with running(here, "serve", *settings(tiny_model), "screen.enabled=false") as (log, _):
            url = wait_for("a service", lambda: url_of(log), 120, log)
            answers = asyncio.run(ask_while_swapping(url, store, policies))
        for id, question, model, text in answers:
            assert text.strip() == expected[model, question]
            assert store.interaction(id).policy == model
    print(f"{len(answers)} answers over 50 swaps, none failed")
    assert {model for _, _, model, _ in answers} == {policy.label for policy in policies}


async def ask_while_swapping(
    url: str, store: Store, policies: list[Policy]
) -> list[tuple[str, str, str, str]]:
    """Id, question, policy and text of every answer; a request that fails raises."""
    answers: list[tuple[str, str, str, str]] = []
    done = asyncio.Event()
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def asker(seed: int, question: str) -> None:
            body = {"model": "champion", "max_tokens": TOKENS, "temperature": 1.0, "top_p": 1.0}
            body["seed"] = seed
            body["messages"] = [{"role": "user", "content": question}]
            while not done.is_set():
                answer = await client.post("/v1/chat/completions", json=body)
                answer.raise_for_status()
                said = answer.json()
                text = said["choices"][0]["message"]["content"]
                answers.append((said["id"], question, said["model"], text))

        askers = [asyncio.create_task(asker(*asked)) for asked in enumerate(QUESTIONS)]
        for number in range(1, 51):
            policy = policies[number % 2]
            await asyncio.to_thread(promote, store, policy.label, f"swap {number}", "default")
            while (await client.get("/v1/models")).json()["data"][0]["id"] != policy.label:
                await asyncio.sleep(0.02)
            before = len(answers)
            while len(answers) < before + ASKERS:
                await asyncio.sleep(0.02)
        done.set()
        await asyncio.gather(*askers)
    return answers
