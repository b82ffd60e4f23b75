"""The votes of a project as columns of numbers, small enough to hold a million of them."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

THUMB, CORRECTION, CHOICE = 0, 1, 2
# What a vote says of itself.
COLUMNS = ("seq", "voter", "when", "kind", "sign", "text", "rejected")


@dataclass(frozen=True)
class Ballots:
    """Live votes that can train, by voter and text, so that no sum depends on their arrival."""

    seq: Ints
    voter: Ints
    when: Ints
    """Seconds since 1970."""
    kind: Ints
    """THUMB (ratings too), CORRECTION or CHOICE."""
    sign: Ints
    """1 for the text, -1 against it; 1 of corrections and choices."""
    text: Ints
    """What is voted on; of corrections and choices, what is favoured."""
    rejected: Ints
    """What the text is favoured over, or -1."""
    prompt: Ints
    voters: list[str]
    size: int
    """How many texts there are."""
    prompts: list[str]
    """Each prompt's last user message."""
    texts: dict[int, str] = field(default_factory=dict)
    """The texts themselves, or a sample of them drawn by their digests."""
    gave: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """By an interaction's `seq`, the text that it gave, or -1 where nobody judged it."""

    def __len__(self) -> int:
        return len(self.seq)

    def without(self, seqs: set[int]) -> "Ballots":
        """These ballots but for the named votes."""
        kept = ~np.isin(self.seq, np.fromiter(seqs, np.int64, len(seqs)))
        columns = (*COLUMNS, "prompt")
        return replace(self, **{name: getattr(self, name)[kept] for name in columns})
