"""Attention over a packed row on a processor: pieces of like length side by side in one batch.

A batch is a few batched matrix products, so little is spent on what a mask would throw away, and
little on starting many small ones. Vectors are gathered by their places, made once for all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rlhf.packed.layout import Piece

# Queries of a piece at once: scores stay in the processor's cache, and above the diagonal little is
# wasted.
_QUERIES = 256

# Pieces go into one batch up to so many scores a head, and this many times those that are needed.
_SCORES = 100_000
_FILLED = 1.5


@dataclass(frozen=True)
class Batch:
    """Pieces as rows of one batch: what a shorter one lacks is filled with tokens that none reads.

    Own tokens are filled up behind, where causality hides them, and shared ones in front. Places
    are those of one head's vectors among all tokens' heads, `token x heads + head`.
    """

    count: int
    """Pieces, B."""
    size: int
    """Own tokens of each, L."""
    before: int
    """Shared tokens of each, S."""
    queries: Tensor
    """Places of `[kv heads, B, heads of a group, L]`, flat."""
    keys: Tensor
    """Places of `[kv heads, B, S + L]`, flat."""
    shared: Tensor
    """Places of `[kv heads, B, S]`, flat."""
    gap: Tensor | None
    """0 at a shared token and -inf at a filling, `[B, S]`; None where nothing is filled up."""
    real: Tensor
    """Which own tokens are no filling, `[B, L]`."""


@dataclass(frozen=True)
class Plan:
    """A row's pieces in batches, and where each head's vector of each token stands in those."""

    batches: tuple[Batch, ...]
    queries: Tensor
    """Places of `[T, heads]` in the batches' queries, one batch after the other."""
    keys: Tensor
    """Places of `[T, kv heads]` in the batches' keys."""


class PieceAttention(torch.autograd.Function):
    """Scores are computed again in the backward pass, so that memory grows with T and not T²."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        plan: Plan,
        scale: float,
        window: int | None,
    ) -> Tensor:
        """query `[heads, T, d]`, key and value `[kv heads, T, d]`; returns `[T, heads, d]`."""
        queries, all_keys, all_values = _flat(query), _flat(key), _flat(value)
        answers = []
        for batch in plan.batches:
            scaled = _queries(queries, batch, len(key)).mul_(scale)
            keys, values = _keys(all_keys, batch), _keys(all_values, batch)
            for rows, end in _blocks(batch):
                shares = _shares(scaled[:, :, rows], keys[:, :end], batch, window)
                answers.append(torch.bmm(shares, values[:, :end]))
        ctx.save_for_backward(query, key, value)
        ctx.rest = plan, scale, window
        return _gathered(answers, plan.queries).view(query.shape[1], len(query), -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Gradients of key and value are summed in float32: several pieces may share a token."""
        query, key, value = ctx.saved_tensors
        plan, scale, window = ctx.rest
        queries, all_keys, all_values = _flat(query), _flat(key), _flat(value)
        arrived = grads[0].reshape(-1, grads[0].shape[-1])
        to_queries: list[Tensor] = []
        to_keys: list[Tensor] = []
        to_values: list[Tensor] = []
        for batch in plan.batches:
            scaled = _queries(queries, batch, len(key)).mul_(scale)
            coming = _queries(arrived, batch, len(key))
            if not bool(batch.real.all()):
                rows = coming.unflatten(0, (len(key), -1))
                rows.masked_fill_(~batch.real[:, None, :, None], 0)
            keys, values = _keys(all_keys, batch), _keys(all_values, batch)
            grad_keys, grad_values = (
                torch.zeros_like(t, dtype=torch.float32) for t in (keys, values)
            )
            for rows, end in _blocks(batch):
                shares = _shares(scaled[:, :, rows], keys[:, :end], batch, window)
                part = coming[:, :, rows].flatten(1, 2)
                grad_values[:, :end] += torch.bmm(shares.transpose(1, 2), part)
                moved = torch.bmm(part, values[:, :end].transpose(1, 2))
                moved = torch._softmax_backward_data(moved, shares, -1, shares.dtype)
                flat = scaled[:, :, rows].flatten(1, 2)
                grad_keys[:, :end] += torch.bmm(moved.transpose(1, 2), flat)
                to_queries.append(torch.bmm(moved, keys[:, :end]).mul_(scale))
            to_keys.append(grad_keys)
            to_values.append(grad_values)
        grad_query = _gathered(to_queries, plan.queries).view(query.shape[1], len(query), -1)
        grad_kv = (
            _summed(parts, plan, len(key)).to(t.dtype).transpose(0, 1)
            for parts, t in ((to_keys, key), (to_values, value))
        )
        return grad_query.transpose(0, 1), *grad_kv, None, None, None


def _flat(states: Tensor) -> Tensor:
    """`[heads, T, d]` to `[T x heads, d]`, which is how a projection left it."""
    return states.transpose(0, 1).reshape(-1, states.shape[-1])


def _queries(flat: Tensor, batch: Batch, kv_heads: int) -> Tensor:
    """`[kv heads x B, heads of a group, L, d]`, a copy."""
    found = flat.index_select(0, batch.queries)
    rows = kv_heads * batch.count
    return found.view(rows, -1, batch.size, flat.shape[-1])


def _keys(flat: Tensor, batch: Batch) -> Tensor:
    """`[kv heads x B, S + L, d]`, a copy."""
    return flat.index_select(0, batch.keys).view(-1, batch.before + batch.size, flat.shape[-1])


def _gathered(parts: Sequence[Tensor], places: Tensor) -> Tensor:
    """The parts' vectors, one part after the other, at `places`: `[n, d]`."""
    return torch.cat([t.flatten(0, -2) for t in parts]).index_select(0, places)


def _summed(parts: Sequence[Tensor], plan: Plan, kv_heads: int) -> Tensor:
    """What each token gets as a key or a value, by itself and by those that share it."""
    total = _gathered(parts, plan.keys)
    for part, batch in zip(parts, plan.batches, strict=True):
        if batch.before:
            total.index_add_(0, batch.shared, part[:, : batch.before].flatten(0, 1))
    return total.view(-1, kv_heads, total.shape[-1])


def _blocks(batch: Batch) -> Iterator[tuple[slice, int]]:
    """Some own tokens as queries, and how many of the keys the last of them sees."""
    for start in range(0, batch.size, _QUERIES):
        stop = min(start + _QUERIES, batch.size)
        yield slice(start, stop), batch.before + stop


def _shares(scaled: Tensor, keys: Tensor, batch: Batch, window: int | None) -> Tensor:
    """softmax(QKᵀ) of the last queries of these keys: `[kv heads x B, group x queries, keys]`.

    Scores are float32: bfloat16 has steps of 1/16 where a score is 10, and the shares would have
    them too. It costs no time that could be measured.
    """
    group, count = scaled.shape[1:3]
    seen = keys.shape[1]
    wide = scaled.float().flatten(1, 2)
    scores = torch.bmm(wide, keys.float().transpose(1, 2)).unflatten(1, (group, count))
    scores[..., seen - count :] += _later(count, scores.dtype)
    if batch.gap is not None:
        rows = scores.unflatten(0, (-1, batch.count))
        rows[..., : batch.before] += batch.gap[:, None, None, :]
    if window is not None and seen > window:
        query = torch.arange(seen - count, seen)[:, None]
        scores.masked_fill_(query - torch.arange(seen)[None, :] >= window, float("-inf"))
    shares: Tensor = scores.softmax(-1).flatten(1, 2).to(keys.dtype)
    return shares


def _later(count: int, dtype: torch.dtype) -> Tensor:
    return _triangle(dtype)[:count, :count]


@cache
def _triangle(dtype: torch.dtype) -> Tensor:
    return torch.full((_QUERIES, _QUERIES), float("-inf"), dtype=dtype).triu(1)


# Which pieces go together


def plan_of(pieces: Sequence[Piece], heads: int, kv_heads: int) -> Plan:
    """Those of like length do as long as little has to be filled up."""
    parts: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: (p.stop - p.start, p.before)):
        if parts and _go_together([*parts[-1], piece]):
            parts[-1].append(piece)
        else:
            parts.append([piece])
    batches = tuple(_batch(part, heads, kv_heads) for part in parts)
    asked, told = [], []
    for batch in batches:
        queries = batch.queries.view(kv_heads, batch.count, -1, batch.size)
        blocks = [rows for rows, _ in _blocks(batch)]
        asked += [(queries[..., rows], batch.real[:, None, rows]) for rows in blocks]
        keys = batch.keys.view(kv_heads, batch.count, -1)
        told.append((keys, _behind(batch.before, batch.real)))
    total = max(p.stop for p in pieces)
    return Plan(batches, _found(asked, total * heads), _found(told, total * kv_heads))


def _found(parts: Sequence[tuple[Tensor, Tensor]], total: int) -> Tensor:
    """Where each place is in the parts, one after the other; each part says what is no filling."""
    places = torch.cat([places.flatten() for places, _ in parts])
    real = torch.cat([real.expand_as(places).flatten() for places, real in parts])
    found = torch.empty(total, dtype=torch.long)
    found[places[real]] = torch.arange(len(places))[real]
    return found


def _behind(before: int, real: Tensor) -> Tensor:
    """The same with so many columns before it that are of no account: a shared token is not own."""
    return torch.cat([real.new_zeros(len(real), before), real], dim=1)


def _go_together(pieces: Sequence[Piece]) -> bool:
    longest = max(p.stop - p.start for p in pieces)
    before = max(p.before for p in pieces)
    scores = len(pieces) * longest * (before + longest)
    needed = sum((p.stop - p.start) * (p.before + p.stop - p.start) for p in pieces)
    return scores <= _SCORES and scores <= _FILLED * needed


def _batch(pieces: Sequence[Piece], heads: int, kv_heads: int) -> Batch:
    size = max(p.stop - p.start for p in pieces)
    before = max(p.before for p in pieces)
    own, shared = [], []
    for p in pieces:
        own.append([*range(p.start, p.stop), *[p.start] * (size - p.stop + p.start)])
        known = [at for start, stop in p.shared for at in range(start, stop)]
        shared.append([*[p.start] * (before - p.before), *known])
    real = torch.arange(size)[None, :] < torch.tensor([p.stop - p.start for p in pieces])[:, None]
    there = torch.tensor([p.before for p in pieces])[:, None]
    empty = torch.arange(before)[None, :] < before - there
    tokens = torch.tensor(own)
    seen = torch.cat([torch.tensor(shared, dtype=torch.long).view(len(pieces), before), tokens], 1)
    keys = seen * kv_heads + torch.arange(kv_heads)[:, None, None]
    head = torch.arange(heads).view(kv_heads, 1, -1, 1)
    return Batch(
        count=len(pieces),
        size=size,
        before=before,
        queries=(tokens[:, None] * heads + head).flatten(),
        keys=keys.flatten(),
        shared=keys[..., :before].flatten(),
        real=real,
        gap=torch.zeros(empty.shape).masked_fill_(empty, float("-inf")) if empty.any() else None,
    )
