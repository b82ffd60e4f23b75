"""Causal attention over a packed row: pieces see themselves and the prompt that they share.

On a processor each piece is a few batched matrix products of its own, so that nothing is spent on
what the mask would throw away; on a GPU FlexAttention takes the same rule as a block mask.
Registered with transformers under `NAME`; a family that does not ask its interface for attention,
or asks for more than this computes, cannot be packed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "rlhf_packed"

# Query rows at once: scores stay in the processor's cache, and above the diagonal little is wasted.
_QUERIES = 256


@dataclass(frozen=True)
class Piece:
    """Tokens `start:stop` of a row, which attend to `prompt_start:prompt_stop` and themselves.

    A prompt stands in one piece with its first completion; that piece has no prompt before it.
    """

    start: int
    stop: int
    prompt_start: int = 0
    prompt_stop: int = 0

    @property
    def before(self) -> int:
        """Tokens of the shared prompt."""
        return self.prompt_stop - self.prompt_start


@dataclass(frozen=True)
class Layout:
    """The pieces of one row, which they fill, and masks made of them once for all layers."""

    pieces: tuple[Piece, ...]
    masks: dict[Any, Any] = field(default_factory=dict)


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
        args = (query[0], key[0], value[0], layout.pieces, scale, sliding_window)
        out: Tensor = _PieceAttention.apply(*args)  # type: ignore[no-untyped-call]
        return out[None], None
    if query.device.type == "cuda":
        mask = _remembered(layout, ("flex", sliding_window), _flex_mask, query.device)
        out = _flex()(query, key, value, block_mask=mask, scale=scale, enable_gqa=True)
    else:
        mask = _remembered(layout, ("dense", sliding_window), dense_mask, query.device)
        out = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scale, enable_gqa=True
        )
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, attend)


# The rule, token by token


def _rule(layout: Layout, window: int | None, device: torch.device) -> Callable[..., Tensor]:
    """Whether query q may look at key k: an earlier token of its own piece or of its prompt.

    Windows count logical positions, as in a row of its own.
    """
    total = layout.pieces[-1].stop
    piece, prompt, position = (torch.empty(total, dtype=torch.long) for _ in range(3))
    shared = torch.full((total,), -1, dtype=torch.long)
    holder: dict[int, int] = {}
    for number, p in enumerate(layout.pieces):
        piece[p.start : p.stop] = number
        position[p.start : p.stop] = torch.arange(p.before, p.before + p.stop - p.start)
        prompt[p.start : p.stop] = holder.get(p.prompt_start, -2) if p.before else -2
        if not p.before:
            holder[p.start] = number
        else:
            shared[p.prompt_start : p.prompt_stop] = holder[p.prompt_start]
    piece, prompt, position, shared = (t.to(device) for t in (piece, prompt, position, shared))

    def allowed(batch: Any, head: Any, q: Tensor, k: Tensor) -> Tensor:
        seen = (piece[q] == piece[k]) | (prompt[q] == shared[k])
        seen &= position[q] >= position[k]
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


def _remembered(layout: Layout, key: Any, make: Callable[..., Any], device: torch.device) -> Any:
    if key not in layout.masks:
        layout.masks[key] = make(layout, key[1], device)
    return layout.masks[key]


# Piece by piece, on a processor


class _PieceAttention(torch.autograd.Function):
    """Scores are computed again in the backward pass, so that memory grows with T and not T²."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pieces: tuple[Piece, ...],
        scale: float,
        window: int | None,
    ) -> Tensor:
        """query `[heads, T, d]`, key and value `[kv heads, T, d]`; returns `[T, heads, d]`."""
        heads, total, _ = query.shape
        out = query.new_empty(total, heads, value.shape[-1])
        for piece in pieces:
            keys, values = _seen(key, piece), _seen(value, piece)
            for rows, end in _blocks(piece):
                shares = _shares(query[:, rows] * scale, keys[:, :end], window)
                answer = torch.bmm(shares, values[:, :end])
                out[rows] = answer.view(heads, rows.stop - rows.start, -1).transpose(0, 1)
        ctx.save_for_backward(query, key, value)
        ctx.rest = pieces, scale, window
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Gradients of key and value are summed in float32: several pieces may share a prompt."""
        (grad,) = grads
        query, key, value = ctx.saved_tensors
        pieces, scale, window = ctx.rest
        heads, total, width = query.shape
        grad_query = query.new_empty(total, heads, width)
        grad_key = torch.zeros_like(key, dtype=torch.float32)
        grad_value = torch.zeros_like(value, dtype=torch.float32)
        for piece in pieces:
            keys, values = _seen(key, piece), _seen(value, piece)
            for rows, end in _blocks(piece):
                count = rows.stop - rows.start
                scaled = query[:, rows] * scale
                shares = _shares(scaled, keys[:, :end], window)
                arrived = grad[rows].transpose(0, 1).reshape(len(key), -1, grad.shape[-1])
                _spread(grad_value, piece, torch.bmm(shares.transpose(1, 2), arrived))
                moved = torch.bmm(arrived, values[:, :end].transpose(1, 2))
                moved = torch._softmax_backward_data(moved, shares, -1, shares.dtype)
                flat = scaled.reshape(len(key), -1, width)
                _spread(grad_key, piece, torch.bmm(moved.transpose(1, 2), flat))
                back = torch.bmm(moved, keys[:, :end]).view(heads, count, width)
                grad_query[rows] = back.transpose(0, 1).mul(scale)
        grads_kv = grad_key.to(key.dtype), grad_value.to(value.dtype)
        return grad_query.transpose(0, 1), *grads_kv, None, None, None


def _seen(states: Tensor, piece: Piece) -> Tensor:
    own = states[:, piece.start : piece.stop]
    if not piece.before:
        return own
    return torch.cat([states[:, piece.prompt_start : piece.prompt_stop], own], dim=1)


def _spread(total: Tensor, piece: Piece, grad: Tensor) -> None:
    """Add the gradient of what `_seen` gave (or its first part) to where that came from."""
    before = piece.before
    if before:
        total[:, piece.prompt_start : piece.prompt_stop] += grad[:, :before]
    own = grad[:, before:]
    total[:, piece.start : piece.start + own.shape[1]] += own


def _blocks(piece: Piece) -> Iterator[tuple[slice, int]]:
    """Query rows of the row at large, and how many of the piece's keys the last of them sees."""
    for start in range(piece.start, piece.stop, _QUERIES):
        stop = min(start + _QUERIES, piece.stop)
        yield slice(start, stop), piece.before + stop - piece.start


def _shares(scaled: Tensor, keys: Tensor, window: int | None) -> Tensor:
    """softmax(QKᵀ) of the last queries of these keys: `[kv heads, group x queries, keys]`.

    Scores are float32: bfloat16 has steps of 1/16 where a score is 10, and the shares would have
    them too. It costs no time that could be measured.
    """
    heads, count, width = scaled.shape
    groups, seen, _ = keys.shape
    wide = scaled.float().reshape(groups, -1, width)
    scores = torch.bmm(wide, keys.float().transpose(1, 2))
    scores = scores.view(groups, heads // groups, count, seen)
    scores[..., seen - count :] += _later(count, scores.dtype)
    if window is not None and seen > window:
        query = torch.arange(seen - count, seen)[:, None]
        scores.masked_fill_(query - torch.arange(seen)[None, :] >= window, float("-inf"))
    return scores.softmax(-1).view(groups, -1, seen).to(keys.dtype)


def _later(count: int, dtype: torch.dtype) -> Tensor:
    return _triangle(dtype)[:count, :count]


@cache
def _triangle(dtype: torch.dtype) -> Tensor:
    return torch.full((_QUERIES, _QUERIES), float("-inf"), dtype=dtype).triu(1)
