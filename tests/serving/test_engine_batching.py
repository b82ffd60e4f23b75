"""The batch and its cache, turn by turn, against the sampler doing one prompt at a time."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.sampling import LocalSampler, Sampling
from rlhf.serving.engines import batching
from rlhf.serving.engines.batching import Batch, Row
from rlhf.serving.engines.text import Answer


@pytest.fixture(scope="module")
def tokenizer(tiny_settings: ModelSettings) -> Any:
    return load_tokenizer(tiny_settings)


def gemma() -> Any:
    """Half its layers see a window that is shorter than the rows."""
    torch.manual_seed(3)
    config = Gemma3TextConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"] * 2,
        max_position_embeddings=1024,
        eos_token_id=1,
    )
    return Gemma3ForCausalLM(config).eval()


def row(number: int, prompt: list[int], most: int, tokenizer: Any) -> Row:
    sampling = Sampling(max_new_tokens=most, temperature=0.8, top_p=0.95)
    generator = torch.Generator().manual_seed(number)
    return Row(number, prompt, None, sampling, Answer(tokenizer, ()), generator)


@pytest.mark.parametrize("make", [pytest.param(gemma, marks=pytest.mark.slow), None])
def test_rows_that_come_and_go_say_what_each_says_alone(
    make: Any, tokenizer: Any, tiny_settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_PROMPT_TOKENS", 48)  # long prompts come in several turns
    model = make() if make else load_base(tiny_settings)
    chance = random.Random(5)
    asked = {
        n: row(
            n,
            [chance.randrange(3, 259) for _ in range(chance.choice([1, 5, 40, 300]))],
            chance.choice([1, 7, 60, 200]),
            tokenizer,
        )
        for n in range(24)
    }
    sampler = LocalSampler(model, tokenizer)
    expected = {
        n: sampler._decode([r.prompt], r.sampling, torch.Generator().manual_seed(n))[0]
        for n, r in asked.items()
    }
    batch, waiting, cancelled = Batch(model, tokenizer, 5, 1e9), list(asked), set()
    found: dict[int, list[int]] = {n: [] for n in asked}
    while waiting or not batch.idle:
        if waiting and chance.random() < 0.2:
            batch.add(asked[waiting.pop(0)])
        for told in batch.turn():
            assert told.number not in cancelled
            found[told.number] += told.token_ids
        assert len(batch._rows) <= 5
        if chance.random() < 0.02 and batch.numbers:
            number = chance.choice([n for n in batch.numbers if n >= 0] or [-2])
            batch.cancel(number)
            cancelled.add(number)
    assert len(cancelled - {-2}) > 2
    for number, ids in expected.items():
        if number not in cancelled:
            assert found[number] == ids
        else:
            assert ids[: len(found[number])] == found[number]
    batch.close()


def test_the_cache_follows_the_rows(tokenizer: Any, tiny_settings: ModelSettings) -> None:
    """The padding of a long row goes with it, and memory for long rows goes with the last."""
    batch = Batch(load_base(tiny_settings), tokenizer, 4, 1e9)
    batch.add(row(0, [5] * 900, 5, tokenizer))
    batch.turn()
    batch.add(row(1, [5] * 10, 60, tokenizer))
    while 0 in batch.numbers:
        batch.turn()
    assert batch._slots.width < 40
    while not batch.idle:
        batch.turn()
    assert batch._slots.span.capacity <= 512
    batch.close()


def test_rows_wait_for_memory(tokenizer: Any, tiny_settings: ModelSettings) -> None:
    """2 layers, 2 heads of 8 numbers, keys and values, 4 bytes: 256 bytes a token."""
    batch = Batch(load_base(tiny_settings), tokenizer, 8, 256 * 100)
    for n in range(4):
        batch.add(row(n, [5] * 20, 20, tokenizer))
    batch.add(row(4, [5] * 500, 20, tokenizer))  # more than there is, so alone
    most, long_beside = 0, 0
    while not batch.idle:
        batch.turn()
        most = max(most, len(batch._rows))
        if any(r.number == 4 for r in batch._rows):
            long_beside = max(long_beside, len(batch._rows))
    assert (most, long_beside) == (2, 1)
    batch.close()
