"""A LoRA on top of a LoRA, held as one: the same model, and the same training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from examples_of import dialogue
from peft import PeftModel
from peft.utils import load_peft_weights

import rlhf.training.stage
from rlhf.errors import UsageError
from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.policies import LoraSettings, Policy, add_lora, base_policy, load_policy
from rlhf.runs import open_run
from rlhf.training.settings import SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ROWS = sft_rows([dialogue(n) for n in range(16)])
LORA = LoraSettings(r=4, alpha=12, dropout=0.0)


def stage(model: ModelSettings, start: Policy, folder: Path, **more: Any) -> Policy:
    given = {"tracking": "none", "epochs": 2, "learning_rate": 1e-2, "lora": LORA, **more}
    inputs = StageInputs(model, start, ROWS[:12], ROWS[12:], {"parent": start.id})
    return train_sft(open_run(folder, "sft", {}, {}), SftSettings(**given), inputs)


@pytest.fixture(scope="module")
def stacked(
    settings: ModelSettings, sft_policy: Policy, tmp_path_factory: pytest.TempPathFactory
) -> Policy:
    """A LoRA of rank 4 and scale 3 on the fixture's, which has rank 16 and scale 2."""
    return stage(settings, sft_policy, tmp_path_factory.mktemp("runs"), adapters="stacked")


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 60)[None] * 7 % 250
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found


def test_it_is_the_product_of_its_stages(
    stacked: Policy, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    """PEFT runs the two adapters beside each other, unmerged."""
    assert stacked.kind == "lora"
    model: Any = PeftModel.from_pretrained(load_base(settings), str(sft_policy.folder), "below")
    fresh = add_lora(load_base(settings), LORA, seed=1)
    whole = load_peft_weights(str(stacked.folder), device="cpu")
    own = {k: w[16:] if "lora_A" in k else w[:, 16:] for k, w in whole.items()}
    assert all(w.abs().max() > 0 for w in own.values())
    names = dict(fresh.named_parameters())
    for name, weight in own.items():
        names[name.replace(".weight", ".default.weight")].data = weight
    fresh.save_pretrained(tmp_path)
    model.load_adapter(str(tmp_path), "above")
    model.base_model.set_adapter(["below", "above"])
    found = logits(load_policy(settings, stacked))
    assert (found - logits(model)).abs().max() < 1e-5
    assert (found - logits(load_policy(settings, sft_policy))).abs().max() > 1e-2


def test_what_was_below_is_as_it_was(stacked: Policy, sft_policy: Policy) -> None:
    below, whole = (load_peft_weights(str(p.folder), "cpu") for p in (sft_policy, stacked))
    for name, weight in below.items():
        held = whole[name][:16] if "lora_A" in name else whole[name][:, :16] * (3 / 2)
        assert torch.allclose(held, weight, rtol=1e-6, atol=0)


def test_it_trains_as_a_fresh_adapter_on_merged_weights_does(
    stacked: Policy,
    settings: ModelSettings,
    sft_policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In float32, where merging rounds next to nothing away."""
    merged = load_policy(settings, sft_policy).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    load_tokenizer(settings).save_pretrained(tmp_path / "merged")
    other = settings.model_copy(update={"base_model": str(tmp_path / "merged")})
    # The one on top is drawn by another seed than the one below.
    monkeypatch.setattr(
        rlhf.training.stage, "add_lora", lambda model, lora, seed: add_lora(model, lora, seed + 16)
    )
    fresh = stage(other, base_policy(other.base_model), tmp_path)
    found, expected = logits(load_policy(settings, stacked)), logits(load_policy(other, fresh))
    assert (expected - logits(merged)).abs().max() > 1e-2
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"lora": None}, "adapters: only LoRAs are stacked"),
        ({"trainer": {"weight_decay": 0.1}}, "trainer.weight_decay: would wear off"),
        (
            {"lora": LoraSettings(target_modules=("q_proj",))},
            "has its LoRA on q_proj, v_proj, and `lora.target_modules` names q_proj",
        ),
        (
            {"lora": LoraSettings(target_modules=("q_proj", "k_proj", "v_proj"))},
            "adapters are stacked on the same layers",
        ),
    ],
)
def test_what_cannot_be_stacked_is_told(
    more: Any, told: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told):
        stage(settings, sft_policy, tmp_path, adapters="stacked", **more)
