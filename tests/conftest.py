"""What many tests need: a tiny model with a tokenizer, an empty folder to work in."""

from __future__ import annotations

import gc
import os

# A tiny model gains nothing from threads, and test processes beside each other lose by them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from rlhf.policies import Policy

# How long an example takes says what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


_seen_modules = 0


def pytest_runtest_teardown() -> None:
    """What modules hold is never garbage, and each full collection takes half a second over it."""
    global _seen_modules
    if len(sys.modules) > _seen_modules + 50:
        gc.collect()
        gc.freeze()
        _seen_modules = len(sys.modules)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama and a byte-level tokenizer; small but complete."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-model")
    special = ["<pad>", "<eos>", "<bos>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("RLHF_STORE_KEY", "for stores on a database server in tests")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.fixture
def rlhf(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command; gives its exit code and what it said on both streams."""

    from rlhf import cli

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlhf", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), told.out, told.err

    return call


@pytest.fixture(scope="session")
def make_policy(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Policy]:
    """A policy over it with a random update that is not zero; `full` has weights of its own."""

    def make(seed: int, *modules: str, full: bool = False) -> Policy:
        import torch

        from rlhf.models import ModelSettings, load_base, load_tokenizer
        from rlhf.policies import LoraSettings, add_lora, save_policy

        settings = ModelSettings(base_model=str(tiny_model), dtype="float32")
        model, tokenizer = load_base(settings), load_tokenizer(settings)
        if not full:
            lora = LoraSettings(r=2 + seed, alpha=8, target_modules=modules or ("q_proj", "v_proj"))
            model = add_lora(model, lora, seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if full or "lora_B" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        folder = tmp_path_factory.mktemp("policies") / f"p{seed}"
        return save_policy(model, tokenizer, folder, base_model=settings.base_model, about={})

    return make
