"""The local engine's answers: its own sampler's, whoever else is answered beside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


def with_engine(
    model: ModelSettings,
    work: Callable[[LocalEngine], Awaitable[None]],
    batch_size: int = 8,
) -> None:
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
    tiny_settings: ModelSettings, make_policy: Callable[..., Policy]
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

    with_engine(tiny_settings, work)
