"""Counts in bounded memory that come out the same whatever the order of rows and of merging."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

_WIDTH, _DEPTH = 1 << 16, 4
_LONGEST = 120


def short_key(text: str) -> str:
    """A text as a key; a long one is known by its beginning and its hash."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}…\0{blake2b(_bytes(text), digest_size=8).hexdigest()}"


def shown(key: str) -> str:
    """A key as people read it."""
    return key.partition("\0")[0]


class Counts:
    """How often each key came: exactly up to `cap` keys, by a count-min sketch beyond.

    The sketch (Cormode & Muthukrishnan 2005) is a sum over the keys, so that no order shows in it;
    Misra-Gries and space-saving counters depend on theirs. It never counts too low, and too high by
    more than `error` with a chance of 1/16 at most for any one key.
    """

    def __init__(self, cap: int = 50_000) -> None:
        self.total = 0
        self._cap = cap
        self._exact: dict[str, int] = {}
        self._sketch: np.ndarray | None = None

    def add(self, key: str, times: int = 1) -> None:
        """Count a key."""
        self.total += times
        self._exact[key] = self._exact.get(key, 0) + times
        if len(self._exact) > self._cap:
            self._fold()

    def merge(self, other: Counts) -> None:
        """Take in what another counted; it is left as it was."""
        self.total += other.total
        for key, times in other._exact.items():
            self._exact[key] = self._exact.get(key, 0) + times
        if other._sketch is not None:
            self._sketch = other._sketch + (0 if self._sketch is None else self._sketch)
        if len(self._exact) > self._cap:
            self._fold()

    @property
    def distinct(self) -> int | None:
        """How many keys there are; None where they were too many to keep."""
        return len(self._exact) if self._sketch is None else None

    @property
    def error(self) -> int:
        """By how many rows a count may be too high."""
        return 0 if self._sketch is None else -(-2 * self.total // _WIDTH)

    def largest(self, candidates: Iterable[str] = ()) -> list[tuple[str, int]]:
        """Keys with their counts, the largest first.

        `candidates` are looked up where the keys themselves were too many to keep: of a random
        sample of 2,000 rows, a key of 1 % is missing once in half a billion times.
        """
        if self._sketch is None:
            found = list(self._exact.items())
        else:
            self._fold()
            keys = sorted(set(candidates))
            found = list(zip(keys, self._estimates(keys), strict=True))
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def _fold(self) -> None:
        """Move the exact counts into the sketch."""
        if self._sketch is None:
            self._sketch = np.zeros((_DEPTH, _WIDTH), dtype=np.int64)
        if not self._exact:
            return
        times = np.fromiter(self._exact.values(), dtype=np.int64, count=len(self._exact))
        for line, places in zip(self._sketch, _places(self._exact), strict=True):
            np.add.at(line, places, times)
        self._exact = {}

    def _estimates(self, keys: list[str]) -> list[int]:
        if self._sketch is None or not keys:
            return []
        lines = [line[at] for line, at in zip(self._sketch, _places(keys), strict=True)]
        return [int(count) for count in np.min(lines, axis=0)]


class Lengths:
    """How long texts are: exactly below 128, to one part in 64 above."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}

    def add(self, length: int) -> None:
        """Count a length."""
        dropped = max(0, length.bit_length() - 7)
        bucket = length >> dropped << dropped
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def merge(self, other: Lengths) -> None:
        """Take in what another counted."""
        for bucket, times in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + times

    def items(self) -> list[tuple[int, int]]:
        """Lengths and how often they came, the shortest first."""
        return sorted(self._buckets.items())

    def quantiles(self, shares: Iterable[float]) -> list[int | None]:
        """The least length that so large a share of the texts does not exceed; None for none."""
        lengths = [length for length, _ in self.items()]
        if not lengths:
            return [None for _ in shares]
        running = np.cumsum([times for _, times in self.items()])
        at = [int(np.searchsorted(running, share * running[-1])) for share in shares]
        return [lengths[min(place, len(lengths) - 1)] for place in at]

    def share(self, low: int, high: float) -> float:
        """The share of texts from `low` to below `high`."""
        total = sum(self._buckets.values())
        within = sum(times for length, times in self._buckets.items() if low <= length < high)
        return within / total if total else 0.0


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _places(keys: Iterable[str]) -> np.ndarray:
    """Where each key stands in each line of the sketch: [depth, keys]."""
    digests = b"".join(blake2b(_bytes(key), digest_size=4 * _DEPTH).digest() for key in keys)
    return np.frombuffer(digests, dtype="<u4").reshape(-1, _DEPTH).T % _WIDTH
