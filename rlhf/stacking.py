"""A fresh LoRA on top of a trained one, held as one LoRA of summed rank.

    s₁B₁A₁ + s₂B₂A₂ = s₂ [s₁/s₂ · B₁  B₂] [A₁; A₂]

So the policy stays a small update of its base, and nothing is rounded away in merged weights. The
rows of A₁ and the columns of B₁ stay as they are: they get no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.lora import Linear as LoraLinear
from peft.utils import load_peft_weights
from torch import Tensor, nn

from rlhf.errors import PolicyError, UsageError
from rlhf.models import ModelSettings, load_base
from rlhf.policies import LoraSettings, Policy, add_lora, check_base, verify_policy

_NAME = "default"


def stack_lora(settings: ModelSettings, policy: Policy, lora: LoraSettings, seed: int) -> Any:
    """The policy's model, trainable, with its own adapter frozen and a fresh one beside it.

    Dropout falls on the input of both. Raises `UsageError` where they sit on other layers.
    """
    check_base(settings, policy)
    verify_policy(policy)
    below: Any = PeftConfig.from_pretrained(str(policy.folder))
    weights = load_peft_weights(str(policy.folder), device="cpu")
    # Not the seed below: the same random A again would look into the same directions.
    model = add_lora(load_base(settings), lora, seed + below.r)
    scale = (below.lora_alpha / below.r) / (lora.alpha / lora.r)
    for name, layer in _layers(model):
        pair = [weights.pop(f"{name}.lora_{x}.weight", None) for x in "AB"]
        if pair[0] is None or pair[1] is None:
            raise _other_layers(policy, below, lora)
        _widen(layer.lora_A[_NAME], pair[0], dim=0)
        _widen(layer.lora_B[_NAME], pair[1] * scale, dim=1)
        layer.r[_NAME] = below.r + lora.r
    if weights:
        raise _other_layers(policy, below, lora)
    config = model.peft_config[_NAME]
    config.r = below.r + lora.r
    config.lora_alpha = _whole(lora.alpha / lora.r * config.r)
    model.train()
    return model


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            if _NAME not in module.lora_A or module.lora_variant:
                raise PolicyError(f"{name}: is no plain LoRA, and cannot be stacked")
            yield name, module


def _widen(matrix: nn.Linear, below: Tensor, dim: int) -> None:
    """Put what is below before what is there, and let gradients reach only the latter."""
    own = matrix.weight.detach()
    held = below.shape[dim]
    matrix.weight = nn.Parameter(torch.cat([below.to(own), own], dim=dim))
    matrix.out_features, matrix.in_features = matrix.weight.shape

    def only_own(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient.narrow(dim, 0, held).zero_()
        return gradient

    matrix.weight.register_hook(only_own)


def _other_layers(policy: Policy, below: Any, lora: LoraSettings) -> UsageError:
    has, wanted = (", ".join(sorted(on.target_modules)) for on in (below, lora))
    return UsageError(
        f"adapters: {policy.label} has its LoRA on {has}, and `lora.target_modules` names "
        f"{wanted}; adapters are stacked on the same layers"
    )


def _whole(number: float) -> float:
    """An integer as such, as PEFT writes it."""
    return int(number) if number == int(number) else number
