"""Rows that nearly say the same, by MinHash.

Near-duplicates are rows whose shingles have a high Jaccard similarity: three characters in a row
where most are Chinese, two words elsewhere. Signatures are datasketch's MinHash; only the low 16
bits of each minimum are kept, which estimates as well (b-bit minwise hashing, Li & König 2010) and
makes a row 256 bytes, so that ten million fit a file of 2.5 GB that is mapped, not read.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 128
_BANDS, _ROWS = 16, 8
"""Of a signature: alike in one band are 99 % of pairs at 0.85, 6 % at 0.5."""
_LONGEST = 20_000
"""Characters of a text that are compared."""
_PAIRS_AT_ONCE = 1 << 16
_NOISE = re.compile(r"[\W_]+")
_WORD = re.compile(r"\w+")
_MIX = np.uint64(0x9E3779B97F4A7C15)

Signatures = NDArray[np.uint16]
Rows = NDArray[np.int64]


def signatures(texts: Iterable[str]) -> Signatures:
    """A MinHash signature for each text: uint16[n, PERMUTATIONS]."""
    from datasketch import MinHash  # brings SciPy, which takes most of a second

    sketch = MinHash(PERMUTATIONS, seed=1, hashfunc=int)
    rows = []
    for text in texts:
        sketch.clear()
        sketch.update_batch(_shingles(text).tolist())
        rows.append(sketch.hashvalues.astype(np.uint16))
    return np.stack(rows) if rows else np.empty((0, PERMUTATIONS), np.uint16)


def _shingles(text: str) -> NDArray[np.uint32]:
    """Hashes of the text's shingles, at least one; the same in every process."""
    text = text[:_LONGEST].casefold()
    if text.isascii():
        units, size = _words(text), 2
    else:
        plain = _NOISE.sub("", text)
        units, size = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32), 3
        if np.count_nonzero(units > 0x2E7F) * 2 < len(units):
            units, size = _words(text), 2
    units = units if len(units) >= size else np.resize(np.append(units, np.uint32(0)), size)
    hashes = units[: len(units) - size + 1].copy()
    for offset in range(1, size):
        hashes *= np.uint32(0x9E3779B1)
        hashes += units[offset : len(units) - size + 1 + offset]
    return hashes


def _words(text: str) -> NDArray[np.uint32]:
    hashes = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(text)]
    return np.array(hashes, np.uint32)


def groups(signatures: Signatures, threshold: float = 0.8) -> Rows:
    """Of each row the first row that it is a near-duplicate of; itself where there is none.

    Every row that names another is itself at least `threshold` similar to it, by its signature:
    chains of small differences don't make twins of what is far apart. Holds some tens of bytes a
    row besides the signatures, which may be a memory map.
    """
    first: Rows = np.arange(len(signatures))
    rows = first.copy()
    while len(rows) > 1:
        found = rows[_roots(signatures, rows, threshold)]
        named = np.flatnonzero(found != rows)
        near = _similar(signatures, found[named], rows[named], threshold)
        first[rows[named[near]]] = found[named[near]]
        rows = rows[named[~near]]  # drifted from their root by way of others: among themselves
    return first


def _roots(signatures: Signatures, rows: Rows, threshold: float) -> Rows:
    """For each of `rows` the place among them of its cluster's first."""
    root: Rows = np.arange(len(rows))
    for band in range(_BANDS):
        for head, later in _meetings(_keys(signatures, rows, band)):
            one, other = root[head], root[later]
            apart = np.flatnonzero(one != other)
            low = np.minimum(one[apart], other[apart])
            high = np.maximum(one[apart], other[apart])
            near = _similar(signatures, rows[low], rows[high], threshold)
            np.minimum.at(root, high[near], low[near])
            while not np.array_equal(further := root[root], root):
                root = further
    return root


def _keys(signatures: Signatures, rows: Rows, band: int) -> NDArray[np.uint64]:
    """A band of each signature as one number."""
    keys = np.empty(len(rows), np.uint64)
    for at in range(0, len(rows), _PAIRS_AT_ONCE):
        part = slice(at, at + _PAIRS_AT_ONCE)
        columns = signatures[rows[part], band * _ROWS : (band + 1) * _ROWS]
        halves = np.ascontiguousarray(columns).view(np.uint64)
        mixed = (halves[:, 0] ^ (halves[:, 0] >> np.uint64(31))) * _MIX + halves[:, 1]
        keys[part] = (mixed ^ (mixed >> np.uint64(29))) * _MIX
    return keys


def _meetings(keys: NDArray[np.uint64]) -> Iterable[tuple[Rows, Rows]]:
    """Places with equal keys, as pairs: each with the first of its bucket, then with the last but
    itself. Not all pairs of a bucket: a thousand rows of one template would be half a million.
    """
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]]) + 1
    if len(same) == 0:
        return
    begins = np.ones(len(same), bool)
    begins[1:] = np.diff(same) > 1
    heads = (same - 1)[begins][np.cumsum(begins) - 1]
    yield order[heads], order[same]
    yield order[same - 1], order[same]


def _similar(signatures: Signatures, one: Rows, other: Rows, threshold: float) -> NDArray[np.bool_]:
    """Whether the signatures of each pair agree in this share of their places."""
    near = np.empty(len(one), bool)
    for at in range(0, len(one), _PAIRS_AT_ONCE):
        part = slice(at, at + _PAIRS_AT_ONCE)
        agree = (signatures[one[part]] == signatures[other[part]]).mean(axis=1)
        near[part] = agree >= threshold
    return near
