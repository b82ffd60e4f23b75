"""Batches of rows of like length, in an order that hangs on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

_TOKEN_COLUMNS = ("input_ids", "prompt_ids", "chosen_ids", "rejected_ids")


class GroupedByLength(Sampler[int]):
    """As transformers' `LengthGroupedSampler`, but with a generator of its own for each epoch.

    That one draws from the global generator before a resumed run has put it back, so that a run
    resumed in the middle of an epoch sees some rows twice and others never.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch, resumed or not."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        indices: list[int] = get_length_grouped_indices(
            self.lengths, self.batch_size, generator=generator
        )
        return iter(indices)


class GroupsByLength:
    """Mixed into a TRL trainer: its training rows come grouped."""

    args: Any
    train_dataset: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupedByLength:
        lengths = [_tokens(row) for row in self.train_dataset]
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return GroupedByLength(lengths, batch, self.args.seed)


def _tokens(row: Mapping[str, Any]) -> int:
    return sum(len(row[name]) for name in _TOKEN_COLUMNS if name in row)
