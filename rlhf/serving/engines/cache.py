"""Keys and values of a batch whose rows come and go, in one piece of memory a layer.

All rows end at the same column, so that a new token is written beside the others' without moving
them; a shorter row is masked on its left. Columns left of the longest row are not read, and a row
that leaves gives its place to the last one.

             start                 end     capacity
    row 0 ┊  ████████████████████████┊ free    ┊
    row 1 ┊          ░░░░████████████┊         ┊
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from rlhf.errors import UsageError

_COLUMNS = 128  # memory is taken in steps of so many


class _Layer(DynamicLayer):
    """One layer's part. A sliding window is in the model's mask, so its layers keep all."""

    def __init__(self, span: _Span) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.span = span
        self.memory: list[Tensor] = []
        """Keys and values, each `[places, heads, capacity, size]`; nothing before the first."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        span, new = self.span, (key_states, value_states)
        rows, until = slice(span.rows), span.end + key_states.shape[-2]
        self.see_to_memory(new)
        for held, states in zip(self.memory, new, strict=True):
            held[rows, :, span.end : until] = states
        keys, values = (held[rows, :, span.start : until] for held in self.memory)
        return keys, values

    def see_to_memory(self, like: Sequence[Tensor]) -> None:
        # Zeros: what a mask hides is still multiplied, by 0, and must be finite.
        if not self.memory:
            places, capacity = self.span.places, self.span.capacity
            self.memory = [x.new_zeros(places, x.shape[1], capacity, x.shape[3]) for x in like]
            self.is_initialized = True

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.span.end - self.span.start + query_length, 0

    def get_seq_length(self) -> int:
        return self.span.end - self.span.start


class _Span:
    """Which part of the memory is in use; the layers share it."""

    def __init__(self, places: int, capacity: int) -> None:
        self.places, self.capacity = places, capacity
        self.rows = self.start = self.end = 0


class Slots(Cache):
    """A cache with memory for `places` rows of `capacity` tokens; both grow when needed."""

    def __init__(self, config: Any, places: int = 4, capacity: int = _COLUMNS) -> None:
        self.span = _Span(places, capacity)
        self._parts = [_Layer(self.span) for _ in range(_layers(config))]
        super().__init__(layers=list(self._parts))
        self._first: list[int] = []
        """The first column of each row."""

    @property
    def rows(self) -> int:
        return self.span.rows

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return self.span.end - self.span.start

    def mask(self, new: int, device: torch.device) -> Tensor:
        """Which columns each row reads, with `new` ones to come: `[rows, width + new]`."""
        columns = torch.arange(self.span.start, self.span.end + new, device=device)
        return columns >= torch.tensor(self._first, device=device)[:, None]

    def begin(self, lengths: list[int]) -> None:
        """Rows of these lengths are about to be written, padded on the left, in one or more goes.

        Only into an empty cache.
        """
        width = max(lengths)
        self.span.rows, self.span.start, self.span.end = len(lengths), 0, 0
        self._first = [width - length for length in lengths]

    def advance(self, new: int) -> None:
        """The model has written so many columns."""
        self.span.end += new

    def make_room(self, new: int = 1) -> None:
        """See that `new` columns can be written."""
        span = self.span
        if span.end + new <= span.capacity:
            return
        if span.start < span.capacity // 4:
            self._lay(_rounded((self.width + new) * 3 // 2), self.width)
        else:
            self._lay(span.capacity, self.width)

    def join(self, other: Slots) -> None:
        """Take in another cache's rows, after the own ones."""
        span, width = self.span, other.width
        if span.rows == 0:
            span.start = span.end = min(width, span.capacity)
        crowded = span.rows + other.rows > span.places
        if crowded:
            span.places = max(span.rows + other.rows, span.places * 3 // 2)
        if crowded or width > span.end:
            self._lay(max(span.capacity, _rounded(width + 1)), max(span.end, width))
        places = slice(span.rows, span.rows + other.rows)
        columns, read = slice(span.end - width, span.end), slice(other.span.start, other.span.end)
        for mine, theirs in zip(self._parts, other._parts, strict=True):
            mine.see_to_memory(theirs.memory)
            for held, new in zip(mine.memory, theirs.memory, strict=True):
                held[places, :, columns] = new[: other.rows, :, read]
        shift = span.end - other.span.end
        self._first += [first + shift for first in other._first]
        span.rows += other.rows
        span.start = min(self._first)

    def leave(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        span = self.span
        last = span.rows - 1
        if row != last:
            read = slice(self._first[last], span.end)
            for layer in self._parts:
                for held in layer.memory:
                    held[row, :, read] = held[last, :, read]
            self._first[row] = self._first[last]
        self._first.pop()
        span.rows = last
        span.start = min(self._first, default=span.end)
        if not last:
            self._release()

    def _release(self) -> None:
        """Memory that a long answer took is not kept for short ones."""
        span = self.span
        span.start = span.end = 0
        if span.capacity > 4 * _COLUMNS:
            span.capacity = _COLUMNS
            for layer in self._parts:
                layer.memory = []

    def _lay(self, capacity: int, end: int) -> None:
        """Move what is in use so that it ends at `end`, in new memory of `capacity` columns."""
        span, width = self.span, self.width
        shift = end - span.end
        here, there = slice(span.start, span.end), slice(end - width, end)
        for layer in self._parts:
            for at, held in enumerate(layer.memory):
                moved = held.new_zeros(span.places, held.shape[1], capacity, held.shape[3])
                moved[: span.rows, :, there] = held[: span.rows, :, here]
                layer.memory[at] = moved
        span.capacity, span.start, span.end = capacity, span.start + shift, end
        self._first = [first + shift for first in self._first]


def _rounded(columns: int) -> int:
    return -(-columns // _COLUMNS) * _COLUMNS


def _layers(config: Any) -> int:
    """How many layers keep keys and values. Raises `UsageError` where one keeps something else."""
    layers = DynamicCache(config=config).layers
    other = [x for x in layers if type(x) not in (DynamicLayer, DynamicSlidingWindowLayer)]
    if other:
        raise UsageError(
            f"base_model: a {config.model_type} model keeps more than keys and values, and the "
            "local engine can't batch it; serve it by `engine: {kind: upstream}`"
        )
    return len(layers)


def bytes_of_token(config: Any, dtype: torch.dtype) -> int:
    """What the keys and values of one token take, in all layers."""
    text = config.get_text_config()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return int(2 * _layers(config) * heads * size * dtype.itemsize)
