"""A base in 4 bits: learns where bitsandbytes is there, and is refused in one line where not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from examples_of import dialogue, pair

from rlhf import models
from rlhf.errors import UsageError
from rlhf.models import ModelSettings, load_base
from rlhf.policies import base_policy, load_policy
from rlhf.runs import open_run
from rlhf.training.dpo import dpo_rows, train_dpo
from rlhf.training.settings import DpoSettings, SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def in_4_bits(settings: ModelSettings) -> ModelSettings:
    return settings.model_copy(update={"quantize": "4bit"})


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


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
def test_sft_and_dpo_learn_on_a_base_in_4_bits(settings: ModelSettings, tmp_path: Path) -> None:
    quantized = in_4_bits(settings)
    rows = sft_rows([dialogue(n) for n in range(16)])
    stage = SftSettings(tracking="none", epochs=4, learning_rate=2e-2)
    inputs = StageInputs(quantized, base_policy(settings.base_model), rows[:12], rows[12:], {})
    run = open_run(tmp_path, "sft", {}, {})
    policy = train_sft(run, stage, inputs)
    losses = [row["eval_loss"] for row in run.metrics() if "eval_loss" in row]
    assert losses[-1] < losses[0]
    pairs = dpo_rows([pair(n) for n in range(16)])
    dpo = DpoSettings(tracking="none", epochs=3, learning_rate=1e-2)
    run = open_run(tmp_path, "dpo", {}, {})
    train_dpo(run, dpo, StageInputs(quantized, policy, pairs[:12], pairs[12:], {}))
    losses = [row["loss"] for row in run.metrics() if "loss" in row]
    assert losses[-1] < losses[0] == pytest.approx(0.6931, abs=1e-3)
    layer = load_policy(quantized, policy).get_base_model().model.layers[0].mlp.up_proj
    assert type(layer).__name__ == "Linear4bit"
