"""OpenVINO's pipeline behind the engine's interface, over a real model's GGUF file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("openvino_genai")

from rlhf.errors import PolicyError
from rlhf.models import ModelSettings
from rlhf.policies import Policy, base_policy
from rlhf.sampling import Sampling
from rlhf.serving import settings
from rlhf.serving.engines import Ask, EngineFailed
from rlhf.serving.engines.process import OpenVinoEngine

BASE = base_policy(settings.STOCK_MODEL)


def ask(text: str, most: int = 16, stop: tuple[str, ...] = ()) -> Ask:
    turns = ({"role": "user", "content": text},)
    sampling = Sampling(max_new_tokens=most, temperature=0)
    return Ask("i", turns, None, BASE.label, sampling, 1, stop)  # type: ignore[arg-type]


@pytest.mark.slow
def test_it_answers_many_at_once_and_for_one_policy() -> None:
    async def said(engine: OpenVinoEngine, asked: Ask) -> tuple[str, str | None]:
        found = [piece async for piece in engine.answer(asked)]
        assert sum(len(p.token_ids) for p in found) <= asked.sampling.max_new_tokens
        assert found[0].prompt_tokens
        return "".join(p.text for p in found), found[-1].finish_reason

    async def run() -> None:
        model = ModelSettings(base_model=settings.STOCK_MODEL)
        engine = OpenVinoEngine(model, settings.OpenVinoEngine(kind="openvino", threads=1))
        await engine.start()
        try:
            await engine.ready(BASE)
            asks = [ask(f"What is the capital of {c}?") for c in ("France", "Italy", "China")]
            together = await asyncio.gather(*(said(engine, a) for a in asks))
            assert [
                c in text
                for c, (text, _) in zip(("Paris", "Rome", "Beijing"), together, strict=True)
            ] == [True] * 3
            left = engine.answer(ask("Tell me a long story.", 500))
            await anext(left)
            await left.aclose()  # type: ignore[attr-defined]
            assert await said(engine, asks[0]) == together[0]
            text, end = await said(engine, ask("What is the capital of France?", stop=("Paris",)))
            assert end == "stop" and "Paris" not in text and text == text.strip()
        finally:
            await engine.close()

    asyncio.run(run())


@pytest.mark.slow
def test_a_lora_is_refused_with_the_way_out(tmp_path: Path) -> None:
    lora = Policy("0123456789abcdef", "lora", settings.STOCK_MODEL, None, {})

    async def run() -> None:
        from rlhf.serving.engines.openvino import OneModel

        model = ModelSettings(base_model=settings.STOCK_MODEL)
        backend = OneModel(model, None, {"batch_size": 2, "threads": 1})
        with pytest.raises(PolicyError, match="puts no LoRA on a model; export the policy merged"):
            backend.load(lora)
        backend.load(BASE)()
        with pytest.raises(PolicyError, match="trained on"):
            backend.load(base_policy("another"))

    asyncio.run(run())


def test_a_base_without_a_gguf_file_is_refused(tiny_settings: ModelSettings) -> None:
    engine = OpenVinoEngine(tiny_settings, settings.OpenVinoEngine(kind="openvino"))
    with pytest.raises(EngineFailed, match=r"^engine.model: .* is no GGUF file; name one"):
        asyncio.run(engine.start())
