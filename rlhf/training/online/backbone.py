"""One base in memory for all that a run asks of it: policy, reference, value, reward model.

The policy is the adapter `default`. The reference is the base without an adapter, or, where the
stage starts from an adapter, a frozen copy of it. The value is a small head on the policy's states.
A reward model on the same base comes as one more adapter, see `rlhf.scoring.lend`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlhf.errors import UsageError
from rlhf.models import ModelSettings
from rlhf.packed import Engine
from rlhf.policies import Policy, add_lora, load_policy
from rlhf.scoring import using
from rlhf.training.online.settings import PpoSettings

_REFERENCE = "reference"
_VALUE_WIDTH = 256


class ValueHead(nn.Module):
    """What is still to come after each token, from the state that the token is drawn from.

    States come in detached: the policy's trunk is the policy's alone, and no coefficient has to
    hold the two losses apart. It begins at 0 everywhere.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden_size, _VALUE_WIDTH)
        self.outer = nn.Linear(_VALUE_WIDTH, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """`[N, H]` to float32 `[N]`."""
        inner = nn.functional.gelu(self.inner(states.detach().float()))
        values: Tensor = self.outer(inner).squeeze(-1)
        return values


@dataclass(frozen=True)
class Backbone:
    """The model with its roles."""

    model: Any
    engine: Engine
    reference_adapter: str | None
    """None: the base itself."""
    value: ValueHead | None
    """None for estimators without one."""

    @contextmanager
    def reference(self) -> Iterator[None]:
        """The model is the reference until this ends."""
        if self.reference_adapter is None:
            with self.model.disable_adapter():
                yield
            return
        with using(self.model, self.reference_adapter):
            yield

    def trained(self) -> dict[str, nn.Parameter]:
        """What training moves, by name: the adapter's weights, then the value head's."""
        own = {n: p for n, p in self.model.named_parameters() if ".default." in n}
        if self.value is not None:
            own |= {f"value.{n}": p for n, p in self.value.named_parameters()}
        return own


def build_backbone(model: ModelSettings, start: Policy, settings: PpoSettings) -> Backbone:
    """The policy to train, loaded once. Raises `UsageError` for a start that has no adapter."""
    if start.kind == "full":
        raise UsageError(
            f"policy: {start.label} has moved every weight, and {settings.stage} trains a LoRA on "
            "a base that stays; start from the base or from a policy with a LoRA"
        )
    if start.kind == "base":
        policy = add_lora(load_policy(model, start), settings.lora, settings.seed)
    else:
        policy = load_policy(model, start, trainable=True)
        policy.load_adapter(str(start.folder), _REFERENCE, is_trainable=False)
        policy.set_adapter("default")
    policy.eval()  # dropout would move the first ratios away from 1
    if settings.gradient_checkpointing:
        _checkpoint(policy)
    value = None
    if settings.stage == "ppo":
        torch.manual_seed(settings.seed)
        value = ValueHead(policy.config.get_text_config().hidden_size).to(policy.device)
    reference = None if start.kind == "base" else _REFERENCE
    return Backbone(policy, Engine(policy), reference, value)


def _checkpoint(policy: Any) -> None:
    """transformers computes activations again in training mode only, where dropout acts too."""
    for module in policy.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    policy.gradient_checkpointing_enable({"use_reentrant": False})
    policy.enable_input_require_grads()
    policy.train()
