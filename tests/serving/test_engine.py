"""The local engine's answers: its own sampler's, whoever else is answered beside."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlhf.errors import DataError, PolicyError
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, base_policy, load_policy
from rlhf.sampling import LocalSampler, Prompt, Sampling
from rlhf.serving import settings
from rlhf.serving.engines import Ask, EngineFailed
from rlhf.serving.engines.process import LocalEngine

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # peft asks for it
)

TEXTS = [
    "hello",
    "a much longer question than the first one",
    "q",
    "why is the sky blue?",
    "你好吗",
]
GREEDY = Sampling(max_new_tokens=24, temperature=0)


def ask(policy: Policy, text: str, sampling: Sampling = GREEDY, **more: Any) -> Ask:
    values: dict[str, Any] = {"style": None, "seed": 7, "stop": ()} | more
    messages = ({"role": "user", "content": text},)
    return Ask("i", messages, policy=policy.label, sampling=sampling, **values)  # type: ignore[arg-type]


Work = Callable[[LocalEngine], Awaitable[None]]


@pytest.fixture(scope="module")
def shared(tiny_settings: ModelSettings) -> Iterator[Callable[[Work], None]]:
    """One engine for the tests that leave it as it was: starting one takes seconds."""
    with asyncio.Runner() as runner:
        engine = LocalEngine(tiny_settings, settings.LocalEngine(batch_size=6, threads=1))
        runner.run(engine.start())
        yield lambda work: runner.run(work(engine))  # type: ignore[arg-type]
        runner.run(engine.close())


def with_engine(model: ModelSettings, work: Work, batch_size: int = 8) -> None:
    async def run() -> None:
        engine = LocalEngine(model, settings.LocalEngine(batch_size=batch_size, threads=1))
        await engine.start()
        try:
            await work(engine)
        finally:
            await engine.close()

    asyncio.run(run())


async def answered(engine: LocalEngine, wanted: Ask) -> tuple[str, list[int], str]:
    text, ids, ends = "", [], []
    async for piece in engine.answer(wanted):
        text += piece.text
        ids += piece.token_ids
        ends.append(piece.finish_reason)
    assert ends[-1] and not any(ends[:-1])
    return text, ids, ends[-1]


def alone(model: ModelSettings, wanted: Ask, policy: Policy) -> tuple[str, list[int], str]:
    """What the policy's own sampler says, asked nothing else."""
    sampler = LocalSampler(load_policy(model, policy), load_tokenizer(model))
    prompt = Prompt(wanted.messages, wanted.style)
    said = sampler.sample([prompt], wanted.sampling, seed=wanted.seed)[0]
    return said.text, list(said.token_ids), said.finish_reason


def test_every_row_is_answered_by_its_own_policy(
    shared: Callable[[Work], None],
    tiny_settings: ModelSettings,
    make_policy: Callable[..., Policy],
) -> None:
    policies = [
        base_policy(tiny_settings.base_model),
        make_policy(1),
        make_policy(2, "k_proj", "gate_proj", "down_proj"),
        make_policy(3, full=True),
    ]
    asks = [ask(p, t, style=s) for t in TEXTS for p, s in zip(policies, "fcxy", strict=True)]

    async def work(engine: LocalEngine) -> None:
        for policy in policies:
            await engine.ready(policy)
        found = await asyncio.gather(*(answered(engine, a) for a in asks))
        by = {p.label: p for p in policies}
        expected = [alone(tiny_settings, a, by[a.policy]) for a in asks]
        assert found == expected
        assert len({text for text, _, _ in found}) > len(TEXTS)

    shared(work)


def test_an_answer_drawn_at_random_does_not_hang_on_its_neighbours(
    shared: Callable[[Work], None],
    tiny_settings: ModelSettings,
    make_policy: Callable[..., Policy],
) -> None:
    """Other lengths, temperatures and seeds join and leave; batch and window are crowded."""
    policy = make_policy(1)
    samplings = [
        Sampling(max_new_tokens=8 + 9 * n, temperature=t, top_p=p)
        for n, (t, p) in enumerate([(1.0, 1.0), (0.7, 0.9), (0.0, 1.0), (1.3, 0.5), (1.0, 0.9)])
    ]
    asks = [
        ask(policy, "long " * 40 * (n % 3) + t, s, seed=n)
        for n, (t, s) in enumerate((t, s) for t in TEXTS for s in samplings)
    ]

    async def late(engine: LocalEngine, wanted: Ask) -> tuple[str, list[int], str]:
        await asyncio.sleep(0.01 * wanted.seed)
        return await answered(engine, wanted)

    async def work(engine: LocalEngine) -> None:
        await engine.ready(policy)
        found = await asyncio.gather(*(late(engine, a) for a in asks))
        assert found == [alone(tiny_settings, a, policy) for a in asks]

    shared(work)


def test_what_cannot_be_asked(
    shared: Callable[[Work], None],
    tiny_settings: ModelSettings,
    make_policy: Callable[..., Policy],
) -> None:
    base = base_policy(tiny_settings.base_model)

    async def work(engine: LocalEngine) -> None:
        with pytest.raises(EngineFailed, match="not ready"):
            await answered(engine, ask(base_policy("somewhere/else"), "hello"))
        await engine.ready(base)
        with pytest.raises(DataError, match="the prompt has 2005 tokens, and the model reads 1024"):
            await answered(engine, ask(base, "x" * 2000))
        with pytest.raises(DataError, match="lone surrogate"):
            await answered(engine, ask(base, "\ud83d"))
        # To the end of the window and no further.
        _, ids, end = await answered(
            engine, ask(base, "x" * 1000, Sampling(max_new_tokens=99, temperature=0))
        )
        assert end == "stop" or len(ids) == 1024 - 1005

    shared(work)


def test_a_stop_text_ends_an_answer(
    shared: Callable[[Work], None], tiny_settings: ModelSettings
) -> None:
    base = base_policy(tiny_settings.base_model)
    wanted = ask(base, "hello")
    said, _, _ = alone(tiny_settings, wanted, base)
    stop = said[len(said) // 2 :][:3]

    async def work(engine: LocalEngine) -> None:
        await engine.ready(base)
        text, _, end = await answered(engine, ask(base, "hello", stop=(stop,)))
        assert (text, end) == (said[: said.find(stop)].rstrip(), "stop")

    shared(work)


def test_a_client_that_leaves_frees_its_place(tiny_settings: ModelSettings) -> None:
    base = base_policy(tiny_settings.base_model)
    endless = Sampling(max_new_tokens=900, temperature=1.5)

    async def work(engine: LocalEngine) -> None:
        await engine.ready(base)
        for n in range(6):  # the batch has room for one
            answer = engine.answer(ask(base, "hello", endless, seed=n))
            assert (await anext(answer)).prompt_tokens == 10
            await answer.aclose()  # type: ignore[attr-defined]
        said = await asyncio.wait_for(answered(engine, ask(base, "hello")), 20)
        assert said == alone(tiny_settings, ask(base, "hello"), base)

    with_engine(tiny_settings, work, batch_size=1)


def test_policies_come_and_go_under_load(
    shared: Callable[[Work], None],
    tiny_settings: ModelSettings,
    make_policy: Callable[..., Policy],
) -> None:
    policies = [make_policy(1), make_policy(2, "k_proj", "o_proj"), make_policy(3, full=True)]
    stays = base_policy(tiny_settings.base_model)
    expected = {p.label: alone(tiny_settings, ask(p, "hello"), p) for p in [*policies, stays]}

    async def load(engine: LocalEngine, done: asyncio.Event) -> int:
        count = 0
        while not done.is_set():
            assert await answered(engine, ask(stays, "hello")) == expected[stays.label]
            count += 1
        return count

    async def work(engine: LocalEngine) -> None:
        await engine.ready(stays)
        done = asyncio.Event()
        users = [asyncio.create_task(load(engine, done)) for _ in range(3)]
        for _ in range(4):
            for policy in policies:
                await engine.ready(policy)
                under_way = asyncio.create_task(answered(engine, ask(policy, "hello")))
                await asyncio.sleep(0.01)
                await engine.drop(policy.label)  # once what is under way has ended
                assert under_way.done()
                assert under_way.result() == expected[policy.label]
                with pytest.raises(EngineFailed, match="not ready"):
                    await answered(engine, ask(policy, "hello"))
        done.set()
        assert all(n > 2 for n in await asyncio.gather(*users))

    shared(work)


def test_a_damaged_policy_is_refused_and_the_rest_goes_on(
    shared: Callable[[Work], None],
    tiny_settings: ModelSettings,
    make_policy: Callable[..., Policy],
) -> None:
    good, damaged = make_policy(1), make_policy(2)
    assert damaged.folder is not None
    weights = damaged.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    elsewhere = base_policy("somewhere/else")

    async def work(engine: LocalEngine) -> None:
        await engine.ready(good)
        with pytest.raises(PolicyError, match="its sha256 differs"):
            await engine.ready(damaged)
        with pytest.raises(PolicyError, match="trained on somewhere/else"):
            await engine.ready(elsewhere)
        with pytest.raises(EngineFailed, match="not ready"):
            await answered(engine, ask(damaged, "hello"))
        assert await answered(engine, ask(good, "hello")) == alone(
            tiny_settings, ask(good, "hello"), good
        )

    shared(work)


def test_a_killed_process_comes_back_with_its_policies(
    tiny_settings: ModelSettings, make_policy: Callable[..., Policy]
) -> None:
    policy = make_policy(1)
    endless = Sampling(max_new_tokens=900, temperature=1.5)

    async def work(engine: LocalEngine) -> None:
        await engine.ready(policy)
        answer = engine.answer(ask(policy, "hello", endless))
        await anext(answer)
        assert engine._process is not None
        os.kill(engine._process.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="died"):
            async for _ in answer:
                pass
        assert not engine.alive
        with pytest.raises(EngineFailed, match="starting again"):
            await answered(engine, ask(policy, "hello"))
        await engine.ready(policy)  # waits until it is back
        assert engine.alive
        assert await answered(engine, ask(policy, "hello")) == alone(
            tiny_settings, ask(policy, "hello"), policy
        )

    with_engine(tiny_settings, work)


def test_the_process_ends_with_its_server(tiny_settings: ModelSettings) -> None:
    """A server that was killed leaves nobody behind."""
    code = f"""
import asyncio
from rlhf.models import ModelSettings
from rlhf.serving import settings
from rlhf.serving.engines.process import LocalEngine

async def run():
    model = ModelSettings(base_model={tiny_settings.base_model!r}, dtype="float32")
    engine = LocalEngine(model, settings.LocalEngine(threads=1))
    await engine.start()
    print(engine._process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(run())
"""
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout is not None
    worker = int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_a_base_that_cannot_be_loaded_is_told_in_one_line(tmp_path: Path) -> None:
    engine = LocalEngine(ModelSettings(base_model=str(tmp_path)), settings.LocalEngine())
    with pytest.raises(EngineFailed, match=r"^base_model: .* cannot be loaded"):
        asyncio.run(engine.start())
