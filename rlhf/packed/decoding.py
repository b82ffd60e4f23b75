"""Layers for drawing one token at a time, where each product reads a whole matrix for a few rows.

On a processor that costs what it takes to fetch the matrix, and torch brings it into the order that
oneDNN multiplies by anew each time. Here that is done once for all tokens. The matrices are moved,
not copied: they stand in that order until the drawing ends, and then come back bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from rlhf.packed.adapters import Adapters, adapted
from rlhf.packed.kernels import fused, norm, only_adapter, replaced

# Rows that the order is chosen for; others are right too, and seldom slower than without.
_ROWS = 16


@contextmanager
def decoding(model: nn.Module, adapters: Adapters | None = None) -> Iterator[None]:
    """Put the layers in, and take them out again; in between nothing has a gradient.

    With `adapters`, a bare base has each row's update added to what its linear layers give; any
    may be added and removed until this ends.
    """
    if adapters is None and not _reorders(model):
        with fused(model):
            yield
    else:
        with _ordered(model, adapters):
            yield


@contextmanager
def _ordered(model: nn.Module, adapters: Adapters | None) -> Iterator[None]:
    reorders = _reorders(model)
    names = {module: name for name, module in model.named_modules()}
    tied = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    moved: list[tuple[nn.Linear, Tensor]] = []

    def stand_in(module: nn.Module) -> Callable[..., Tensor] | None:
        if isinstance(module, LoraLinear):
            return _lora(module)
        forward = linear(module) if isinstance(module, nn.Linear) else norm(module)
        if adapters is not None and isinstance(module, nn.Linear):
            return adapted(adapters, names[module], forward or module.forward)
        return forward

    def linear(module: nn.Linear) -> Callable[[Tensor], Tensor] | None:
        if type(module) is nn.Linear and reorders and _plain(module):
            ordered = torch.ops.mkldnn._reorder_linear_weight(module.weight.data, _ROWS)
            if id(module.weight) not in tied:
                moved.append((module, ordered))
                module.weight.data = module.weight.data.new_empty(0)
            return _linear(ordered, module.bias)
        return None

    try:
        with torch.no_grad(), replaced(model, stand_in):
            yield
    finally:
        for module, ordered in moved:
            module.weight.data = ordered.to_dense()


def _reorders(model: nn.Module) -> bool:
    """Whether this processor multiplies bfloat16, for which the sums are the same bit for bit."""
    if model.training or not torch.backends.mkldnn.is_available():
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _plain(module: nn.Linear) -> bool:
    weight = module.weight
    here = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
    return here and not weight.requires_grad and weight.is_contiguous()


def _linear(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return result

    return forward


def _lora(module: LoraLinear) -> Callable[..., Tensor] | None:
    """y = Wx + b + s·B(A·x), with A and B brought into the input's numbers once."""
    name = only_adapter(module)
    if name is None or module.disable_adapters:
        return None
    base = module.get_base_layer()
    inner = module.lora_A[name].weight.detach().to(base.weight.dtype).t()
    scale = module.scaling[name]
    outer = (module.lora_B[name].weight.detach() * scale).to(base.weight.dtype).t()

    def forward(x: Tensor) -> Tensor:
        y: Tensor = base(x)
        flat = x.reshape(-1, x.shape[-1])
        y.view(-1, y.shape[-1]).addmm_(flat @ inner, outer)
        return y

    return forward
