"""Drawing with reordered matrices says the very same, and leaves the model as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles_of_packing import VOCABULARY, with_lora
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.packed.decoding import decoding

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.skipif(
        not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16"
    ),
]


def model(dtype: torch.dtype) -> Any:
    torch.manual_seed(4)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes, **heads)).to(dtype)
    return with_lora(base, ["q_proj", "v_proj"]).eval()


def logits(policy: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = policy(input_ids=torch.arange(30).view(3, 10)).logits
    return found


def parts(policy: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in policy.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_says_the_same_and_leaves_no_trace(dtype: torch.dtype) -> None:
    policy = model(dtype)
    expected, before = logits(policy), parts(policy)
    with decoding(policy):
        found = logits(policy)
    close = 1e-5 if dtype == torch.float32 else 2e-2
    assert float((found - expected).norm()) <= close * float(expected.norm())
    assert not any("forward" in m.__dict__ for m in policy.modules())
    after = parts(policy)
    assert all(after[name].equal(value) for name, value in before.items())
    assert logits(policy).equal(expected)


def test_a_policy_without_an_adapter_says_it_bit_for_bit() -> None:
    policy = model(torch.bfloat16)
    with policy.disable_adapter():
        expected = logits(policy)
        with decoding(policy):
            assert logits(policy).equal(expected)


def test_matrices_move_and_are_not_held_twice() -> None:
    policy = model(torch.bfloat16)
    with decoding(policy):
        held = [m.weight for m in policy.modules() if type(m) is torch.nn.Linear]
        tied = policy.get_input_embeddings().weight
        frozen = [w for w in held if w.dtype == torch.bfloat16 and w is not tied]
        assert len(frozen) == 14
        assert all(w.numel() == 0 for w in frozen)
        assert tied.numel() == VOCABULARY * 64


def test_they_come_back_after_a_failure() -> None:
    policy = model(torch.bfloat16)
    before = parts(policy)
    with pytest.raises(KeyboardInterrupt), decoding(policy):
        raise KeyboardInterrupt
    after = parts(policy)
    assert all(after[name].equal(value) for name, value in before.items())
