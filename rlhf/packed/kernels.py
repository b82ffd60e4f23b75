"""The layers that training spends its time in, with fewer passes over memory and less kept.

PEFT computes a LoRA's update in float32 and copies the activations for it; transformers keeps every
step of a norm and of an MLP for the backward pass. These do the same sums in the model's own number
format with float32 where it matters, and keep what cannot be computed again cheaply. They stand in
only for layers that were seen to give the same result, on a processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # torch's own name for it
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


@contextmanager
def fused(model: nn.Module) -> Iterator[None]:
    """Put the layers in, and take them out again."""
    with replaced(model, _stand_in):
        yield


@contextmanager
def replaced(
    model: nn.Module, stand_in: Callable[[nn.Module], Callable[..., Tensor] | None]
) -> Iterator[None]:
    """Each layer runs what `stand_in` gives for it, if anything, until this ends."""
    changed = []
    try:
        for module in model.modules():
            if "forward" in module.__dict__:  # somebody else has replaced it
                continue
            forward = stand_in(module)
            if forward is not None:
                module.forward = forward
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.__dict__["forward"]


def _stand_in(module: nn.Module) -> Callable[..., Tensor] | None:
    if isinstance(module, LoraLinear):
        return _lora(module)
    if all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
        return _mlp(module)
    return norm(module)


def _same(module: nn.Module, stand_in: Callable[..., Tensor], like: Tensor) -> bool:
    """Whether both give the same for a row of numbers, up to rounding in the weights' format."""
    row = torch.linspace(-2.0, 3.0, like.shape[-1])[None].to(like.dtype)
    with torch.no_grad():
        expected, found = module(row).float(), stand_in(row).float()
    close = 1e-5 if like.dtype == torch.float32 else 2e-2
    return bool((found - expected).norm() <= close * expected.norm())


# LoRA


def only_adapter(module: LoraLinear) -> str | None:
    """The active adapter's name, where it is one plain LoRA on a frozen linear layer."""
    base = module.get_base_layer()
    frozen = type(base) is nn.Linear and not base.weight.requires_grad
    if not frozen or len(module.active_adapters) != 1 or module.merged:
        return None
    name = module.active_adapters[0]
    if name not in module.lora_A or module.lora_variant or module.lora_bias[name]:
        return None
    return str(name)


def _lora(module: LoraLinear) -> Callable[..., Tensor] | None:
    name = only_adapter(module)
    if name is None:
        return None
    base = module.get_base_layer()
    down, up = module.lora_A[name].weight, module.lora_B[name].weight
    dropout, scale, own = module.lora_dropout[name], module.scaling[name], module.forward

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if module.disable_adapters or module.merged or args or kwargs:
            result: Tensor = own(x, *args, **kwargs)
            return result
        dropped = dropout(x) if module.training else x
        result = _Lora.apply(  # type: ignore[no-untyped-call]
            x, dropped, base.weight, base.bias, down, up, scale
        )
        return result

    return forward


class _Lora(torch.autograd.Function):
    """y = Wx + b + s·B(A·x'), with x' the input after dropout; A and B are float32 masters."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        inner, outer = down.to(x.dtype), (up * scale).to(x.dtype)
        flat = dropped.reshape(-1, x.shape[-1])
        code = flat @ inner.t()
        y = F.linear(x, weight, bias)
        y.view(-1, y.shape[-1]).addmm_(code, outer.t())
        ctx.save_for_backward(flat, weight, inner, outer, code)
        ctx.rest = scale, dropped is x
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        flat, weight, inner, outer, code = ctx.saved_tensors
        scale, same = ctx.rest
        shape = (*grads[0].shape[:-1], weight.shape[-1])
        grad = grads[0].reshape(-1, weight.shape[0])
        narrow = grad @ outer
        grad_down = (narrow.t() @ flat).float()
        grad_up = (grad.t() @ code).float() * scale
        grad_x = grad_dropped = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            if same:
                grad_x.addmm_(narrow, inner)
            else:
                grad_dropped = (narrow @ inner).view(shape)
            grad_x = grad_x.view(shape)
        return grad_x, grad_dropped, None, None, grad_down, grad_up, None


# Norms


def norm(module: Any) -> Callable[..., Tensor] | None:
    """`variance_epsilon` names Llama's kind, w·x̂; `eps` Gemma's, (1 + w)·x̂ in float32."""
    if not type(module).__name__.endswith("RMSNorm"):
        return None
    weight = module.weight
    if weight.requires_grad or weight.device.type != "cpu":
        return None
    epsilon = getattr(module, "variance_epsilon", None)
    gemma = epsilon is None
    epsilon = getattr(module, "eps", None) if gemma else epsilon
    if not isinstance(epsilon, float):
        return None
    factor = 1.0 + weight.float() if gemma else weight

    def forward(x: Tensor) -> Tensor:
        result: Tensor = _RmsNorm.apply(  # type: ignore[no-untyped-call]
            x, factor, epsilon
        )
        return result

    return forward if _same(module, forward, weight) else None


class _RmsNorm(torch.autograd.Function):
    """Zhang and Sennrich 2019; a frozen weight, and one number a row kept for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor, epsilon: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = (norm * norm / x.shape[-1] + epsilon).rsqrt_()
        ctx.save_for_backward(x, factor, inverse)
        scaled = x * inverse
        if factor.dtype != torch.float32:
            scaled = scaled.to(x.dtype)
        result: Tensor = scaled * factor
        return result.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, factor, inverse = ctx.saved_tensors
        scaled = grads[0] * factor
        overlap = (scaled * x).sum(-1, keepdim=True, dtype=torch.float32)
        grad = (scaled - x * (overlap * inverse * inverse / x.shape[-1])) * inverse
        return grad.to(x.dtype), None, None


# MLPs


def _mlp(module: Any) -> Callable[..., Tensor] | None:
    layers = module.gate_proj, module.up_proj, module.down_proj
    plain = all(
        type(layer) is nn.Linear and layer.bias is None and not layer.weight.requires_grad
        for layer in layers
    )
    if not plain or layers[0].weight.device.type != "cpu":
        return None
    gate, up, down = (layer.weight for layer in layers)
    for kind in _ACTIVATIONS:
        row = torch.linspace(-4.0, 4.0, 33)
        if torch.allclose(module.act_fn(row), _ACTIVATIONS[kind][0](row), atol=1e-6):

            def forward(x: Tensor, kind: str = kind) -> Tensor:
                result: Tensor = _Mlp.apply(  # type: ignore[no-untyped-call]
                    x, gate, up, down, kind
                )
                return result

            return forward if _same(module, forward, gate) else None
    return None


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _gelu_back(grad: Tensor, x: Tensor) -> Tensor:
    back: Tensor = torch.ops.aten.gelu_backward(grad, x, approximate="tanh")
    return back


_ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "silu": (F.silu, torch.ops.aten.silu_backward),
    "gelu": (_gelu, _gelu_back),
}


class _Mlp(torch.autograd.Function):
    """down(act(gate x) · up x) with frozen weights; keeps the two inner products only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, up: Tensor, down: Tensor, kind: str) -> Tensor:
        opened, raised = F.linear(x, gate), F.linear(x, up)
        ctx.save_for_backward(opened, raised, gate, up, down)
        ctx.kind = kind
        return F.linear(_ACTIVATIONS[kind][0](opened).mul_(raised), down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        opened, raised, gate, up, down = ctx.saved_tensors
        act, back = _ACTIVATIONS[ctx.kind]
        inner = grads[0] @ down
        grad_raised = act(opened).mul_(inner)
        grad_opened = back(inner.mul_(raised), opened)
        grad = (grad_opened @ gate).reshape(-1, gate.shape[-1])
        grad.addmm_(grad_raised.reshape(-1, up.shape[0]), up)
        return grad.view(*opened.shape[:-1], -1), None, None, None, None
