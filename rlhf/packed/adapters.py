"""Several LoRAs over one base in one batch: every row has the update of its own, or none.

The adapters of a layer stand side by side, so that two products serve all rows whatever they chose:

    x [T, in] · [A₁ A₂ …] [in, Σr]  → codes, and those of adapters that a row has not are set to 0
    codes [T, Σr] · [B₁; B₂; …] [Σr, out]  → the update, scales included

Adapters are known by their own names here and never by PEFT's, which matches prefixes (PEFT#3780).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import load_peft_weights
from torch import Tensor, nn


@dataclass(frozen=True)
class Update:
    """One layer's part of an adapter."""

    down: Tensor
    """A, transposed: `[in, r]`."""
    up: Tensor
    """B, transposed and scaled: `[r, out]`."""


Lora = Mapping[str, Update]
"""An adapter: its updates by the names of the base's layers."""


@dataclass(frozen=True)
class _Layer:
    """All adapters' updates of one layer, side by side."""

    down: Tensor
    up: Tensor
    owners: tuple[tuple[str, int], ...]
    """Who has how many columns, from the left."""


class Adapters:
    """Those at hand, and which one each row of the batch at work has."""

    def __init__(self) -> None:
        self._loras: dict[str, Lora] = {}
        self._layers: dict[str, _Layer] = {}
        self._rows: tuple[str | None, ...] = ()
        self._hidden: dict[tuple[tuple[str, int], ...], Tensor | None] = {}

    def add(self, name: str, lora: Lora) -> None:
        """Have one more."""
        self._loras[name] = lora
        self._stack(lora)

    def remove(self, name: str) -> None:
        """Have it no more; no row may choose it any longer."""
        self._stack(self._loras.pop(name))

    def choose(self, rows: Sequence[str | None]) -> None:
        """Each row's adapter, by name, from now on."""
        if tuple(rows) != self._rows:
            self._rows = tuple(rows)
            self._hidden.clear()

    def apply(self, layer: str, x: Tensor, y: Tensor) -> None:
        """Add each row's update to `y` `[rows, width, out]`, what the layer made of `x`."""
        parts = self._layers.get(layer)
        if parts is None or not any(self._rows):
            return
        codes = x.reshape(-1, x.shape[-1]) @ parts.down
        hidden = self._hidden_of(parts)
        if hidden is not None:
            # By rows: all the tokens of a row have its adapter.
            codes.view(len(self._rows), -1, codes.shape[-1]).masked_fill_(hidden, 0.0)
        y.view(-1, y.shape[-1]).addmm_(codes, parts.up)

    def _hidden_of(self, layer: _Layer) -> Tensor | None:
        """Where codes are not a row's own, `[rows, 1, Σr]`; None where all are."""
        if layer.owners not in self._hidden:
            columns = [name for name, rank in layer.owners for _ in range(rank)]
            hidden = [[name != row for name in columns] for row in self._rows]
            needed = any(map(any, hidden))
            self._hidden[layer.owners] = (
                torch.tensor(hidden, device=layer.down.device)[:, None] if needed else None
            )
        return self._hidden[layer.owners]

    def _stack(self, changed: Lora) -> None:
        self._hidden.clear()
        for layer in changed:
            parts = {n: lora[layer] for n, lora in self._loras.items() if layer in lora}
            if not parts:
                del self._layers[layer]
                continue
            self._layers[layer] = _Layer(
                torch.cat([p.down for p in parts.values()], dim=1),
                torch.cat([p.up for p in parts.values()], dim=0),
                tuple((n, p.down.shape[1]) for n, p in parts.items()),
            )


def adapted(
    adapters: Adapters, name: str, forward: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """A layer's forward with each row's update added."""

    def with_update(x: Tensor) -> Tensor:
        y = forward(x)
        adapters.apply(name, x, y)
        return y

    return with_update


def read_lora(base: Any, folder: Path) -> Lora | None:
    """A policy's LoRA in the base's numbers; None for one that is more than plain updates.

    PEFT lays it out over a model without weights, so that the base may be at work meanwhile.
    """
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    with torch.device("meta"):
        laid_out = get_peft_model(type(base)(base.config), config).get_base_model()
    weights = load_peft_weights(str(folder), device="cpu")
    updates: dict[str, Update] = {}
    for name, module in laid_out.named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        pair = [weights.pop(f"base_model.model.{name}.lora_{x}.weight", None) for x in "AB"]
        if not _plain(module) or pair[0] is None or pair[1] is None:
            return None
        dtype, device = numbers_of(base.get_submodule(name))
        down, up = pair[0], pair[1] * module.scaling["default"]
        updates[name] = Update(*(m.to(device, dtype).t().contiguous() for m in (down, up)))
    return None if weights else updates


def _plain(module: Any) -> bool:
    """Whether a tuned layer is a LoRA on a linear layer, and nothing besides."""
    if not isinstance(module, LoraLinear) or type(module.get_base_layer()) is not nn.Linear:
        return False
    return not module.lora_variant and not module.lora_bias["default"]


def numbers_of(layer: nn.Module) -> tuple[torch.dtype, torch.device]:
    """What a layer computes in: its weight's numbers, unless those are packed."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.dtype if weight.dtype.is_floating_point else torch.bfloat16, weight.device
