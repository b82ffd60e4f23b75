"""log p of given tokens from hidden states, without a full-vocabulary tensor for the batch.

A token's log-probability is one number, so its gradient with respect to the hidden state is that
number's gradient times a fixed direction, W[y] - Σ p·W. A frozen head computes the direction in the
forward pass, chunk by chunk; nothing of the vocabulary's size outlives a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Entropy = Literal["told", "learned"]
"""Whether the loss has a term in it: one that is only told costs no second product."""

# Logits held at once: 12.6 million, 25 MB in bfloat16 and 50 MB in float32.
_LOGITS_AT_ONCE = 12_600_000


def token_scores(
    model: Any,
    hidden: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    entropy: Entropy | None = None,
) -> tuple[Tensor, Tensor | None]:
    """log p of the targets, and on request the entropy of what they were drawn from, in nats.

    `[N, H]` and `[N]` to float32 `[N]` each, by softmax(head(hidden) / temperature). An entropy
    that is only "told" has no gradient.
    """
    matrix = model.get_output_embeddings()
    plain = isinstance(matrix, torch.nn.Linear) and matrix.bias is None
    if plain and not matrix.weight.requires_grad and _cap(model) is None:
        scale = _scale(model) / temperature
        logprobs, entropies = _FrozenHead.apply(  # type: ignore[no-untyped-call]
            hidden, matrix.weight, targets, scale, entropy
        )
        return logprobs, None if entropy is None else entropies
    head = logits_of(model)
    parts = [hidden.new_empty(2, 0, dtype=torch.float32)]
    for at in _chunks(targets, vocabulary(model)):
        parts.append(_again(_picked, head, hidden[at], targets[at], temperature, entropy))
    logprobs, entropies = torch.cat(parts, dim=-1)
    if entropy is None:
        return logprobs, None
    return logprobs, entropies if entropy == "learned" else entropies.detach()


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


def _picked(
    head: Callable[[Tensor], Tensor],
    hidden: Tensor,
    targets: Tensor,
    temperature: float,
    entropy: Entropy | None,
) -> Tensor:
    """Log-probabilities and entropies, `[2, N]`; the latter are zero where nobody asks."""
    logprobs = (head(hidden) / temperature).log_softmax(-1)
    picked = logprobs.gather(-1, targets[:, None]).squeeze(-1)
    if entropy is None:
        return torch.stack([picked, torch.zeros_like(picked)])
    return torch.stack([picked, -(logprobs.exp() * logprobs).sum(-1)])


def _again(function: Callable[..., Tensor], *args: Any) -> Tensor:
    """Computed again in the backward pass, so that no chunk's logits are kept for it."""
    if not torch.is_grad_enabled():
        return function(*args)
    result: Tensor = checkpoint(function, *args, use_reentrant=False)
    return result


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        scale: float,
        entropy: Entropy | None,
    ) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[0]
        logprobs = hidden.new_empty(len(targets), dtype=torch.float32)
        entropies = torch.zeros_like(logprobs)
        directions = torch.empty_like(hidden) if wanted else None
        flatter = torch.empty_like(hidden) if wanted and entropy == "learned" else None
        for at in _chunks(targets, len(weight)):
            target = targets[at]
            logits = torch.mm(hidden[at], weight.t()).float()
            if scale != 1:
                logits *= scale
            logits -= logits.logsumexp(-1, keepdim=True)
            logprobs[at] = logits.gather(-1, target[:, None]).squeeze(-1)
            if entropy is None and directions is None:
                continue
            shares = logits.exp()
            if entropy is not None:
                # dH/dz = -p (log p + H), and the logits z are linear in the hidden state.
                entropies[at] = -torch.linalg.vecdot(shares, logits)
            if flatter is not None:
                logits += entropies[at][:, None]
                flatter[at] = torch.mm((logits * shares).to(weight.dtype), weight) * -scale
            if directions is not None:
                expected = torch.mm(shares.to(weight.dtype), weight)
                directions[at] = (weight[target] - expected) * scale
        ctx.save_for_backward(directions, flatter)
        if entropy != "learned":
            ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        directions, flatter = ctx.saved_tensors
        grad = directions * grads[0][:, None]
        if flatter is not None:
            grad = grad + flatter * grads[1][:, None]
        return grad.to(directions.dtype), None, None, None, None
