"""A random sample of rows that does not depend on their order, nor on who read which."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np

from rlhf.files import canonical_json

Excerpt = dict[str, Any]
RANK = np.dtype("V8")


def ranks(seed: int) -> Callable[[str], bytes]:
    """What tells the place of a row, by its name, among all that could be drawn."""
    keyed = blake2b(digest_size=RANK.itemsize, key=seed.to_bytes(8, "little", signed=True))

    def rank(name: str) -> bytes:
        hashed = keyed.copy()
        hashed.update(name.encode("utf-8", "surrogatepass"))
        return hashed.digest()

    return rank


class RowSample:
    """The `size` rows with the smallest hashes of their names (a bottom-k sample).

    Unlike a reservoir's, the choice is the same for any order and any split among workers.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[tuple[bytes, Excerpt]] = []
        self._bound = b"\xff" * RANK.itemsize

    def add_many(self, ranks: np.ndarray, excerpt_at: Callable[[int], Excerpt]) -> None:
        """Offer rows by their ranks; what is kept of one is made only if it is drawn."""
        low = ranks.view(">u8") <= int.from_bytes(self._bound, "big")
        for at in np.flatnonzero(low).tolist():
            code = ranks[at].item()
            if code <= self._bound:
                self._kept.append((code, excerpt_at(at)))
                if len(self._kept) >= 2 * self._size:
                    self._cut()

    def rows(self) -> list[Excerpt]:
        """What was kept, in the order of the hashes."""
        self._cut()
        return [excerpt for _, excerpt in self._kept]

    def _cut(self) -> None:
        self._kept.sort(key=_rank)
        if any(left[0] == right[0] for left, right in pairwise(self._kept)):
            # Rows of one name, which may differ in their labels.
            self._kept.sort(key=lambda pair: (pair[0], canonical_json(pair[1])))
        del self._kept[self._size :]
        if len(self._kept) == self._size:
            self._bound = self._kept[-1][0]


_rank = itemgetter(0)
