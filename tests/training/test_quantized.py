"""A base in 4 bits: learns where bitsandbytes is there, and is refused in one line where not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from examples_of import dialogue, pair
from transformers import AutoConfig, AutoModelForCausalLM

from rlhf import models
from rlhf.errors import UsageError
from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.policies import base_policy, load_policy
from rlhf.runs import open_run
from rlhf.training.dpo import dpo_rows, train_dpo
from rlhf.training.settings import DpoSettings, SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def in_4_bits(settings: ModelSettings) -> ModelSettings:
    return settings.model_copy(update={"quantize": "4bit"})


@pytest.fixture
def wide(settings: ModelSettings, tmp_path: Path) -> ModelSettings:
    """The tiny model, as wide as the 64 numbers that bitsandbytes scales together."""
    folder = tmp_path / "wide"
    sizes = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16, "num_key_value_heads": 4}
    config = AutoConfig.from_pretrained(settings.base_model, **sizes)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    load_tokenizer(settings).save_pretrained(folder)
    return ModelSettings(base_model=str(folder), dtype="float32", quantize="4bit")


def test_without_the_library_it_is_refused(
    settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"rlhf-loop\[qlora\]"):
        load_base(in_4_bits(settings))


def test_all_weights_cannot_train_in_4_bits(settings: ModelSettings, tmp_path: Path) -> None:
    rows = sft_rows([dialogue(n) for n in range(8)])
    quantized = in_4_bits(settings)
    inputs = StageInputs(quantized, base_policy(settings.base_model), rows, [], {})
    with pytest.raises(UsageError, match="set `lora`"):
        train_sft(open_run(tmp_path, "sft", {}, {}), SftSettings(lora=None), inputs)


installed = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@installed
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's kernels take layers of any size")
def test_a_model_that_the_library_cannot_run_is_refused(settings: ModelSettings) -> None:
    with pytest.raises(UsageError, match="cannot run this model here"):
        load_base(in_4_bits(settings))


@installed
def test_sft_and_dpo_learn_on_a_base_in_4_bits(wide: ModelSettings, tmp_path: Path) -> None:
    rows = sft_rows([dialogue(n) for n in range(16)])
    stage = SftSettings(tracking="none", epochs=4, learning_rate=2e-2)
    inputs = StageInputs(wide, base_policy(wide.base_model), rows[:12], rows[12:], {})
    run = open_run(tmp_path, "sft", {}, {})
    policy = train_sft(run, stage, inputs)
    losses = [row["eval_loss"] for row in run.metrics() if "eval_loss" in row]
    assert losses[-1] < losses[0]
    pairs = dpo_rows([pair(n) for n in range(16)])
    dpo = DpoSettings(tracking="none", epochs=3, learning_rate=1e-2)
    run = open_run(tmp_path, "dpo", {}, {})
    train_dpo(run, dpo, StageInputs(wide, policy, pairs[:12], pairs[12:], {}))
    losses = [row["loss"] for row in run.metrics() if "loss" in row]
    assert losses[-1] < losses[0] == pytest.approx(0.6931, abs=1e-3)
    layer = load_policy(wide, policy).get_base_model().model.layers[0].mlp.up_proj
    assert type(layer).__name__ == "Linear4bit"
