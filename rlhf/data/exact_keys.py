"""Rows that say the same but for case, spaces and marks, by a hash that is blind to these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback_store.joined import Joined, kinds_of

_NOISE = re.compile(r"[\W_]+")
_KEPT, _ODD = 1, 2
_LINE_END = 10
_BEYOND = 0x20000  # no character from here on has cases


def exact_key(*texts: str) -> int:
    """A signed 64-bit hash of the texts, the same for texts that differ in case, spaces or marks.

    Of ten million rows two that differ meet with a probability of 3 in a million.
    """
    plain = "\n".join(_NOISE.sub("", text).casefold() or text for text in texts)
    return _hash(plain.encode("utf-32-le", "surrogatepass"))


def exact_keys(texts: Joined, rows: Sequence[int]) -> tuple[list[int], list[int]]:
    """`exact_key` of each row's first text, and of all its texts; `rows` of them stand together."""
    table = _table()
    codes = texts.codes
    kept = table.kept[codes]
    odd = texts.with_any(kept & _ODD > 0)
    kept[texts.ends] = _KEPT
    plain = table.folded[codes[kept & _KEPT > 0]].tobytes()
    ends = np.cumsum(kept & _KEPT, dtype=np.intp)[texts.ends] * 4 - 4
    starts = np.concatenate([[0], ends[:-1] + 4])
    odd |= ends == starts
    return _row_keys(texts.texts, rows, plain, odd.tolist(), starts.tolist(), ends.tolist())


def _row_keys(
    texts: Sequence[str],
    rows: Sequence[int],
    plain: bytes,
    odd: list[bool],
    starts: list[int],
    ends: list[int],
) -> tuple[list[int], list[int]]:
    first, whole = [], []
    at = 0
    for count in rows:
        end = at + count
        if True in odd[at:end]:
            first.append(exact_key(texts[at]))
            whole.append(exact_key(*texts[at:end]))
        else:
            first.append(_hash(plain[starts[at] : ends[at]]))
            whole.append(_hash(plain[starts[at] : ends[end - 1]]))
        at = end
    return first, whole


def _hash(plain: bytes) -> int:
    return int.from_bytes(blake2b(plain, digest_size=8).digest(), "big", signed=True)


class _Table(NamedTuple):
    kept: NDArray[np.uint8]
    """Letters and digits; those that change into several when their case is folded are odd."""
    folded: NDArray[np.uint32]


@lru_cache(maxsize=1)
def _table() -> _Table:
    kept = kinds_of({_KEPT: r"[^\W_]"}).astype(np.uint8)
    folded = np.arange(len(kept), dtype=np.uint32)
    for code in range(_BEYOND):
        char = chr(code)
        if (other := char.casefold()) != char:
            if len(other) == 1:
                folded[code] = ord(other)
            else:
                kept[code] |= _ODD
    return _Table(kept, folded)
