"""Hashes of windows: of letters that make a word, of words that make an n-gram.

    h(a..b) = Σ xᵢ·Bⁱ⁻ᵃ   mod 2⁶⁴        B odd; xᵢ a character's code, or a word's hash scattered

Windows come from prefix sums, divided by Bᵃ (B has an inverse mod 2⁶⁴). Two different windows of
one answer agree by chance once in about 2⁵⁰ pairs, which is taken for never.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_ODD = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of SplitMix64
_SHIFT = np.uint64(32)


def scattered(values: NDArray[np.unsignedinteger]) -> Hashes:
    """A number's 64 bits of hash."""
    x = values.astype(np.uint64)
    x += np.uint64(1)
    x *= _ODD[0]
    x ^= x >> _SHIFT
    x *= _ODD[1]
    x ^= x >> _SHIFT
    return x


def sums(values: NDArray[np.unsignedinteger]) -> Hashes:
    """Prefix sums for the hashes of a sequence's windows, one longer than it."""
    found = np.zeros(len(values) + 1, np.uint64)
    found[1:] = values
    found[1:] *= _powers(len(values))[0]
    np.cumsum(found, out=found)
    return found


def windows(of: Hashes, start: Places, end: Places) -> Hashes:
    """Hashes of the windows [start, end) of a sequence, from its `sums`."""
    found = of.take(end)
    found -= of.take(start)
    found *= _powers(len(of))[1].take(start)
    return found


def hash_of(text: str) -> np.uint64:
    """Hash of a window that holds these characters."""
    found: np.uint64 = sums(np.array([ord(c) for c in text], np.uint32))[-1]
    return found


def _powers(count: int) -> tuple[Hashes, Hashes]:
    both = _table(max(16, count.bit_length()))
    return both[0][:count], both[1][:count]


@lru_cache(maxsize=4)
def _table(bits: int) -> tuple[Hashes, Hashes]:
    made = []
    for base in (_BASE, _INVERSE):
        factors = np.full(1 << bits, base, np.uint64)
        factors[0] = 1
        made.append(np.cumprod(factors, dtype=np.uint64))
    return made[0], made[1]


def distinct(hashes: Hashes, counts: Places) -> Places:
    """How many different hashes each row has; `counts` of them stand together for each row."""
    bits = np.uint64(max(1, (len(counts) - 1).bit_length()))
    row = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    keys = np.sort((row << (np.uint64(64) - bits)) | (hashes >> bits))  # rows stay in their order
    ends = np.cumsum(counts)
    new = np.zeros(len(keys) + 1, np.intp)
    if len(keys):
        new[1] = 1
        np.cumsum(keys[1:] != keys[:-1], out=new[2:])
        new[2:] += 1
    found: Places = new[ends] - new[ends - counts]
    return found
