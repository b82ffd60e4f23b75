"""The packed engine against each prompt and completion run alone, in float32."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_of_packing import VOCABULARY, alike, alone, gradients, with_lora
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rlhf.packed import Engine, Group

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
# A window of 5 is shorter than most rows: two of Gemma's three layers forget what lies before.
GEMMA = {
    "head_dim": 12,
    "sliding_window": 5,
    "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
}


def build(family: str) -> Any:
    torch.manual_seed(3)
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**SMALL))
    if family == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**SMALL))
    return Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, **GEMMA))


@cache
def policy(family: str) -> Any:
    """A LoRA that does something, so that every gradient is other than zero."""
    return with_lora(build(family), ["q_proj", "v_proj"])


FAMILIES = ["llama", "qwen2", "gemma3"]

tokens = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=24)
groups = alike(
    st.lists(
        st.builds(Group, tokens, st.lists(tokens, min_size=1, max_size=4)), min_size=1, max_size=4
    )
)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(asked=groups, data=st.data())
def test_equals_rows_run_alone(family: str, asked: list[Group], data: Any) -> None:
    model = policy(family)
    engine = Engine(model)
    assert engine.packs
    expected = alone(model, asked)
    weights = torch.linspace(-1.0, 2.0, len(expected))
    wanted = gradients(model, (expected * weights).sum())
    with engine.on():
        scores = engine.score(asked)
        found = gradients(model, (scores.logprobs * weights).sum())
    assert torch.allclose(scores.logprobs, expected, atol=1e-4)
    assert wanted.keys() == found.keys()
    for name, grad in wanted.items():
        assert float((found[name] - grad).norm()) <= 1e-3 * float(grad.norm()) + 1e-6, name


@pytest.mark.parametrize("family", FAMILIES)
def test_long_rows_cross_blocks_and_windows(family: str) -> None:
    model = policy(family)
    engine = Engine(model)
    generator = torch.Generator().manual_seed(5)

    def some(count: int) -> list[int]:
        return torch.randint(VOCABULARY, (count,), generator=generator).tolist()

    system = some(30)
    asked = [
        Group(system + some(270), [some(290), some(270)]),
        Group(system + some(20), [some(30)]),
        Group(system + some(5), [some(280)]),
    ]
    expected = alone(model, asked)
    wanted = gradients(model, expected.sum())
    with engine.on():
        scores = engine.score(asked)
        found = gradients(model, scores.logprobs.sum())
    assert torch.allclose(scores.logprobs, expected, atol=1e-4)
    for name, grad in wanted.items():
        assert float((found[name] - grad).norm()) <= 1e-3 * float(grad.norm()), name
