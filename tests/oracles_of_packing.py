"""What the packed engine is held against: a model's own forward, one row at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from rlhf.packed import Group
from rlhf.policies import LoraSettings, add_lora

VOCABULARY = 61


def with_lora(model: Any, modules: Sequence[str], dropout: float = 0.0) -> Any:
    """An update that is not zero, in float32 as PEFT keeps it, and norms other than one."""
    lora = LoraSettings(r=4, alpha=8, dropout=dropout, target_modules=tuple(modules))
    model = add_lora(model, lora, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
            elif "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def alike(groups: SearchStrategy[list[Group]]) -> SearchStrategy[list[Group]]:
    """The same groups, often with a beginning that all prompts share."""
    first = st.lists(st.integers(0, VOCABULARY - 1), max_size=6)

    def begun(first: list[int], groups: list[Group]) -> list[Group]:
        return [Group([*first, *g.prompt], g.completions) for g in groups]

    return st.builds(begun, first, groups)


def alone(model: Any, asked: list[Group]) -> Tensor:
    """Every completion's token log-probabilities by the model's own forward."""
    found = []
    for group in asked:
        for completion in group.completions:
            ids = torch.tensor([[*group.prompt, *completion]])
            logits = model(input_ids=ids).logits[0].log_softmax(-1)
            at = torch.arange(len(group.prompt) - 1, ids.shape[1] - 1)
            found.append(logits[at, torch.tensor(completion)])
    return torch.cat(found)


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    """Of every parameter that has one."""
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
