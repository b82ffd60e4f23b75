"""log p of given tokens from hidden states, without a full-vocabulary tensor for the batch.

A token's log-probability is one number, so its gradient with respect to the hidden state is that
number's gradient times a fixed direction, W[y] - Σ p·W. A frozen head computes the direction in the
forward pass, chunk by chunk; nothing of the vocabulary's size outlives a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Logits held at once: 12.6 million, 25 MB in bfloat16 and 50 MB in float32.
_LOGITS_AT_ONCE = 12_600_000


def token_logprobs(model: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """log softmax(head(hidden)) at the targets, float32: `[N, H]` and `[N]` to `[N]`."""
    matrix = model.get_output_embeddings()
    plain = isinstance(matrix, torch.nn.Linear) and matrix.bias is None
    if plain and not matrix.weight.requires_grad and _cap(model) is None:
        logprobs: Tensor = _FrozenHead.apply(  # type: ignore[no-untyped-call]
            hidden, matrix.weight, targets, _scale(model)
        )
        return logprobs
    head = logits_of(model)
    chunks = _chunks(targets, vocabulary(model))
    parts = [hidden.new_empty(0, dtype=torch.float32)]
    for at in chunks:
        parts.append(_again(_picked, head, hidden[at], targets[at]))
    return torch.cat(parts)


def token_entropies(model: Any, hidden: Tensor) -> Tensor:
    """Entropy of the next token's distribution in nats, float32 and without gradient: `[N]`."""
    head = logits_of(model)
    parts = [hidden.new_empty(0, dtype=torch.float32)]
    with torch.no_grad():
        for at in _chunks(hidden[:, 0], vocabulary(model)):
            logprobs = head(hidden[at]).log_softmax(-1)
            parts.append(-(logprobs.exp() * logprobs).sum(-1))
    return torch.cat(parts)


def logits_of(model: Any) -> Callable[[Tensor], Tensor]:
    """Hidden states to float32 logits, with what Gemma, Cohere and Granite do after the matrix."""
    matrix = model.get_output_embeddings()
    scale, cap = _scale(model), _cap(model)

    def logits(hidden: Tensor) -> Tensor:
        values: Tensor = matrix(hidden).float()
        if scale != 1:
            values = values * scale
        return values if cap is None else torch.tanh(values / cap) * cap

    return logits


def vocabulary(model: Any) -> int:
    """How many tokens the head knows."""
    return int(model.config.get_text_config().vocab_size)


def _scale(model: Any) -> float:
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    return float(scale / (getattr(config, "logits_scaling", None) or 1.0))


def _cap(model: Any) -> float | None:
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return None if cap is None else float(cap)


def _chunks(targets: Tensor, size: int) -> list[slice]:
    step = max(1, _LOGITS_AT_ONCE // size)
    return [slice(start, start + step) for start in range(0, len(targets), step)]


def _picked(head: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor) -> Tensor:
    logits = head(hidden)
    return logits.gather(-1, targets[:, None]).squeeze(-1) - logits.logsumexp(-1)


def _again(function: Callable[..., Tensor], *args: Any) -> Tensor:
    """Computed again in the backward pass, so that no chunk's logits are kept for it."""
    if not torch.is_grad_enabled():
        return function(*args)
    result: Tensor = checkpoint(function, *args, use_reentrant=False)
    return result


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, scale: float) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        logprobs = hidden.new_empty(len(targets), dtype=torch.float32)
        directions = torch.empty_like(hidden) if wanted else None
        for at in _chunks(targets, len(weight)):
            target = targets[at]
            logits = torch.mm(hidden[at], weight.t()).float()
            if scale != 1:
                logits *= scale
            picked = logits.gather(-1, target[:, None])
            total = logits.logsumexp(-1, keepdim=True)
            logprobs[at] = (picked - total).squeeze(-1)
            if directions is not None:
                shares = logits.sub_(total).exp_().to(weight.dtype)
                directions[at] = (weight[target] - torch.mm(shares, weight)) * scale
        ctx.save_for_backward(directions)
        return logprobs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (directions,) = ctx.saved_tensors
        return (directions * grads[0][:, None]).to(directions.dtype), None, None, None
