"""Counts in bounded memory that come out the same whatever the order of rows and of merging."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

import numpy as np

_WIDTH, _DEPTH = 1 << 16, 4
DIGEST = np.dtype(f"V{4 * _DEPTH}")
_LONGEST = 120


def short_key(text: str) -> str:
    """A text as a key; a long one is known by its beginning and its hash."""
    if len(text) <= _LONGEST:
        return text
    code = text.encode("utf-8", "surrogatepass")
    return f"{text[:_LONGEST]}…\0{blake2b(code, digest_size=8).hexdigest()}"


def shown(key: str) -> str:
    """A key as people read it."""
    return key.partition("\0")[0]


def digest(key: str) -> bytes:
    """What a key is counted by."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4 * _DEPTH).digest()


def counted(values: np.ndarray) -> tuple[list[int], list[int]]:
    """Each value, and how often it came."""
    found, times = np.unique(values, return_counts=True)
    return found.tolist(), times.tolist()


class Counts:
    """How often each key came: exactly up to `cap` keys, by a count-min sketch beyond.

    The sketch (Cormode & Muthukrishnan 2005) is a sum over the keys, so that no order shows in it;
    Misra-Gries and space-saving counters depend on theirs. It never counts too low, and too high by
    more than `error` with a chance of 1/16 at most for any one key.
    """

    def __init__(self, cap: int = 50_000, least: int = 1) -> None:
        self.total = 0
        self._cap = cap
        self._least = least
        self._exact: dict[bytes, int] = {}
        self._keys: dict[bytes, str] = {}
        self._sketch: np.ndarray | None = None

    def add_many(self, digests: np.ndarray, key_at: Callable[[int], str]) -> None:
        """Count keys by their digests; `key_at` is asked once for those that may be told."""
        self.total += len(digests)
        if self._sketch is not None:
            _sum_up(self._sketch, digests, np.ones(len(digests), np.int64))
            return
        for at, code in enumerate(digests.tolist()):
            self._exact[code] = times = self._exact.get(code, 0) + 1
            if times == self._least:
                self._keys[code] = key_at(at)
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
        """Keys that came `least` times or more with their counts, the largest first.

        `candidates` are looked up where the keys themselves were too many to keep: of a random
        sample of 2,000 rows, a key of 1 % is missing once in half a billion times.
        """
        if self._sketch is None:
            found = [(key, self._exact[code]) for code, key in self._keys.items()]
        else:
            keys = sorted(set(candidates))
            found = list(zip(keys, _estimates(self._sketch, keys), strict=True))
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def _fold(self) -> None:
        """Move the exact counts into the sketch."""
        self._sketch = np.zeros((_DEPTH, _WIDTH), dtype=np.int64)
        times = np.fromiter(self._exact.values(), np.int64, len(self._exact))
        _sum_up(self._sketch, np.array(list(self._exact), DIGEST), times)
        self._exact, self._keys = {}, {}


class Lengths:
    """How long texts are: exactly below 128, to one part in 64 above."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}

    def add_many(self, lengths: np.ndarray) -> None:
        """Count lengths."""
        for length, times in zip(*counted(lengths), strict=True):
            dropped = max(0, length.bit_length() - 7)
            bucket = length >> dropped << dropped
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


def _sum_up(sketch: np.ndarray, digests: np.ndarray, times: np.ndarray) -> None:
    for line, places in zip(sketch, _places(digests), strict=True):
        np.add.at(line, places, times)


def _estimates(sketch: np.ndarray, keys: list[str]) -> list[int]:
    if not keys:
        return []
    digests = np.array([digest(key) for key in keys], DIGEST)
    lines = [line[at] for line, at in zip(sketch, _places(digests), strict=True)]
    return [int(count) for count in np.min(lines, axis=0)]


def _places(digests: np.ndarray) -> np.ndarray:
    """Where each key stands in each line of the sketch: [depth, keys]."""
    return np.frombuffer(digests.tobytes(), "<u4").reshape(-1, _DEPTH).T % _WIDTH
