"""A random sample of rows that does not depend on their order, nor on who read which."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from rlhf.files import canonical_json

Row = Mapping[str, Any]


class RowSample:
    """The `size` rows with the smallest hashes of source and text (a bottom-k sample).

    Unlike a reservoir's, the choice is the same for any order and any split among workers.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._key = seed.to_bytes(8, "little", signed=True)
        self._kept: list[tuple[bytes, Row]] = []
        self._bound = b"\xff" * 9  # above every hash

    def add(self, row: Row, text: str) -> None:
        """Offer a row, known by its source and its text."""
        name = f"{row.get('source', '')}\0{text}".encode("utf-8", "surrogatepass")
        rank = blake2b(name, digest_size=8, key=self._key).digest()
        if rank <= self._bound:
            self._kept.append((rank, row))
            if len(self._kept) >= 2 * self.size + 64:
                self._cut()

    def merge(self, other: RowSample) -> None:
        """Take in another sample of the same size and seed."""
        self._kept.extend(other._kept)
        self._cut()

    def rows(self) -> list[Row]:
        """The rows, in the order of their hashes."""
        self._cut()
        return [row for _, row in self._kept]

    def _cut(self) -> None:
        self._kept.sort(key=lambda pair: (pair[0], canonical_json(pair[1])))
        del self._kept[self.size :]
        if len(self._kept) == self.size:
            self._bound = self._kept[-1][0] if self.size else b""
