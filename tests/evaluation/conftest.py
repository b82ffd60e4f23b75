"""A tiny chat model with random weights, and texts that hold what real answers hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlhf.sampling import Prompt

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_byte_tokenizer(template: str = CHATML) -> PreTrainedTokenizerFast:
    """One token a byte, and three marks of the chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = ["<pad>", "<|im_start|>", "<|im_end|>"]
    vocab = {token: i for i, token in enumerate([*marks, *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=template,
    )


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_byte_tokenizer()


@pytest.fixture(scope="session")
def byte_tokenizer() -> Callable[[str], PreTrainedTokenizerFast]:
    """The same tokenizer with another chat template."""
    return make_byte_tokenizer


@pytest.fixture(scope="session")
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,  # far from uniform, so that a wrong position shows
    )
    return LlamaForCausalLM(config)


def ask(text: str, style: str | None = None) -> Prompt:
    return Prompt(({"role": "user", "content": text},), style)


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    return [
        ask("Hi"),
        ask("我今天头痛得厉害，该怎么办？", "caring"),
        Prompt(
            (
                {"role": "system", "content": "You help customers."},
                {"role": "user", "content": "My parcel is late."},
                {"role": "assistant", "content": "Which one?"},
                {"role": "user", "content": "The blue one, ordered on Monday."},
            ),
            "formal",
        ),
        ask("x"),
        ask("How do I return a pair of shoes that I wore once?", "concise"),
    ]
