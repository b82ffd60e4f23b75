"""Policies over the tiny model, and what its own sampler says by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.policies import LoraSettings, Policy, add_lora, save_policy


@pytest.fixture(scope="session")
def tiny_settings(tiny_model: Path) -> ModelSettings:
    return ModelSettings(base_model=str(tiny_model), dtype="float32")


@pytest.fixture(scope="session")
def make_policy(
    tiny_settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Policy]:
    """A policy with a random update that is not zero; `full` has weights of its own."""

    def make(seed: int, *modules: str, full: bool = False) -> Policy:
        model, tokenizer = load_base(tiny_settings), load_tokenizer(tiny_settings)
        if not full:
            lora = LoraSettings(r=2 + seed, alpha=8, target_modules=modules or ("q_proj", "v_proj"))
            model = add_lora(model, lora, seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if full or "lora_B" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        folder = tmp_path_factory.mktemp("policies") / f"p{seed}"
        base = tiny_settings.base_model
        return save_policy(model, tokenizer, folder, base_model=base, about={})

    return make
