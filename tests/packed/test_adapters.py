"""Rows with different LoRAs in one batch: each as by its own adapter alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.packed.adapters import Adapters, read_lora
from rlhf.packed.decoding import decoding

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

VOCABULARY = 61


def base(dtype: torch.dtype) -> Any:
    torch.manual_seed(4)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes, **heads))
    return model.to(dtype).requires_grad_(False).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """A random adapter's folder."""

    def save(seed: int, *modules: str, **options: Any) -> Path:
        torch.manual_seed(seed)
        config = LoraConfig(r=2 + seed, lora_alpha=8, target_modules=list(modules), **options)
        model = get_peft_model(base(torch.float32), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(tmp_path / str(seed))
        return tmp_path / str(seed)

    return save


def logits(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=ids).logits.float()
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_each_row_is_as_by_its_own_adapter(dtype: torch.dtype, saved: Callable[..., Path]) -> None:
    folders = {
        "foo": saved(1, "q_proj", "v_proj"),
        "foobar": saved(2, "v_proj", "gate_proj", "down_proj"),  # PEFT#3780 mixes up such names
        "third": saved(3, "k_proj", "o_proj", use_rslora=True),
    }
    rows = ["foobar", None, "foo", "third", "foo", None, "foobar"]
    ids = torch.randint(0, VOCABULARY, (len(rows), 9), generator=torch.Generator().manual_seed(1))
    expected = [
        logits(
            base(dtype) if n is None else PeftModel.from_pretrained(base(dtype), folders[n]).eval(),
            ids[at : at + 1],
        )[0]
        for at, n in enumerate(rows)
    ]
    model, adapters = base(dtype), Adapters()
    with decoding(model, adapters):
        for name, folder in folders.items():
            lora = read_lora(model, folder)
            assert lora is not None
            adapters.add(name, lora)
        adapters.choose(rows)
        found = logits(model, ids)
        adapters.choose([None if n == "foo" else n for n in rows])
        adapters.remove("foo")
        without = logits(model, ids)
    close = 1e-4 if dtype == torch.float32 else 2e-2
    for at, name in enumerate(rows):
        assert (found[at] - expected[at]).norm() <= close * expected[at].norm()
        if name != "foo":
            assert (without[at] - expected[at]).norm() <= close * expected[at].norm()
        elif dtype == torch.float32:
            assert (without[at] - expected[at]).norm() > 1e-2 * expected[at].norm()


def test_what_is_more_than_a_plain_lora_is_left_to_peft(saved: Callable[..., Path]) -> None:
    model = base(torch.float32)
    assert read_lora(model, saved(1, "q_proj")) is not None
    assert read_lora(model, saved(2, "q_proj", use_dora=True)) is None
    assert read_lora(model, saved(3, "q_proj", modules_to_save=["lm_head"])) is None
    assert read_lora(model, saved(4, "embed_tokens")) is None


def test_the_base_comes_back_as_it_was(saved: Callable[..., Path]) -> None:
    model, adapters = base(torch.bfloat16), Adapters()
    before = copy.deepcopy(model.state_dict())
    with decoding(model, adapters):
        lora = read_lora(model, saved(1, "q_proj"))
        assert lora is not None
        adapters.add("one", lora)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert not any("forward" in m.__dict__ for m in model.modules())
