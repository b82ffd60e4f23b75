"""A random sample of rows that does not depend on their order, nor on who read which."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise
from operator import itemgetter
from typing import Any

from rlhf.files import canonical_json

Excerpt = dict[str, Any]


class RowSample:
    """The `size` rows with the smallest hashes of their names (a bottom-k sample).

    Unlike a reservoir's, the choice is the same for any order and any split among workers.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._key = seed.to_bytes(8, "little", signed=True)
        self._kept: list[tuple[bytes, Excerpt]] = []
        self._bound = b"\xff" * 9  # above every hash

    def add(self, name: str, excerpt: Callable[[], Excerpt]) -> None:
        """Offer a row; what is kept of it is made only if it is drawn."""
        code = name.encode("utf-8", "surrogatepass")
        rank = blake2b(code, digest_size=8, key=self._key).digest()
        if rank <= self._bound:
            self._kept.append((rank, excerpt()))
            if len(self._kept) >= 2 * self._size:
                self._cut()

    def merge(self, other: RowSample) -> None:
        """Take in another sample of the same size and seed."""
        self._kept.extend(pair for pair in other._kept if pair[0] <= self._bound)
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
