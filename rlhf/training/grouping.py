"""Rows of like length together, in an order that hangs on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


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
