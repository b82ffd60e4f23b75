"""Causal attention over a packed row: pieces see themselves and what they share with others.

On a processor pieces of like length are a few batched matrix products, so that little is spent on
what the mask would throw away; on a GPU FlexAttention takes the same rule as a block mask.
Registered with transformers under `NAME`; a family that does not ask its interface for attention,
or asks for more than this computes, cannot be packed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from rlhf.packed.layout import Layout
from rlhf.packed.pieces import PieceAttention, plan_of

NAME = "rlhf_packed"


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    layout: Layout | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention function: query `[1, heads, T, d]` to output `[1, T, heads, d]`.

    Raises `NotImplementedError` for what packing does not compute: dropout, soft-capped scores,
    sinks, attention to later tokens.
    """
    if layout is None or len(query) != 1:
        raise NotImplementedError("packed attention takes one row and its layout")
    if dropout or softcap is not None or s_aux is not None:
        raise NotImplementedError("packed attention has no dropout, soft cap or sinks")
    if not getattr(module, "is_causal", True):
        raise NotImplementedError("packed attention is causal")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type == "cpu":
        heads = query.shape[1], key.shape[1]
        plan = layout.remembered(heads, lambda: plan_of(layout.pieces, *heads))
        args = (query[0], key[0], value[0], plan, scale, sliding_window)
        out: Tensor = PieceAttention.apply(*args)  # type: ignore[no-untyped-call]
        return out[None], None
    if query.device.type == "cuda":
        mask = layout.remembered(
            sliding_window, lambda: _flex_mask(layout, sliding_window, query.device)
        )
        out = _flex()(query, key, value, block_mask=mask, scale=scale, enable_gqa=True)
    else:
        mask = layout.remembered(
            sliding_window, lambda: dense_mask(layout, sliding_window, query.device)
        )
        out = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scale, enable_gqa=True
        )
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, attend)


# The rule, token by token


def _rule(layout: Layout, window: int | None, device: torch.device) -> Callable[..., Tensor]:
    """Whether query q may look at key k: an earlier token of its own piece or of a shared span.

    Windows count logical positions, as in a row of its own.
    """
    total = layout.pieces[-1].stop
    spans = sorted({span for p in layout.pieces for span in p.shared})
    levels = max(len(p.shared) for p in layout.pieces)
    piece, position = (torch.empty(total, dtype=torch.long) for _ in range(2))
    span = torch.full((total,), -1, dtype=torch.long)
    asked = torch.full((levels, total), -2, dtype=torch.long)
    for number, (start, stop) in enumerate(spans):
        span[start:stop] = number
    for number, p in enumerate(layout.pieces):
        piece[p.start : p.stop] = number
        position[p.start : p.stop] = torch.arange(p.before, p.before + p.stop - p.start)
        for level, shared in enumerate(p.shared):
            asked[level, p.start : p.stop] = spans.index(shared)
    piece, position, span, asked = (t.to(device) for t in (piece, position, span, asked))

    def allowed(batch: Any, head: Any, q: Tensor, k: Tensor) -> Tensor:
        seen = piece[q] == piece[k]
        for level in range(levels):
            seen = seen | (asked[level][q] == span[k])
        seen = seen & (position[q] >= position[k])
        return seen if window is None else seen & (position[q] - position[k] < window)

    return allowed


def dense_mask(layout: Layout, window: int | None, device: torch.device) -> Tensor:
    """The rule as booleans, `[T, T]`."""
    at = torch.arange(layout.pieces[-1].stop, device=device)
    return _rule(layout, window, device)(None, None, at[:, None], at[None, :])


def _flex_mask(layout: Layout, window: int | None, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    size = layout.pieces[-1].stop
    return create_block_mask(_rule(layout, window, device), None, None, size, size, device=device)


@cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
