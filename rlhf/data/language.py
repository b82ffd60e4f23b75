"""The language of a text by its script: enough to count and to choose by, and fast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from feedback_store.joined import Joined, Kinds, Mask, kinds_of

Language = Literal["zh", "en", "mixed", "other"]

_LONGEST = 1000
"""Characters that are read: the rest of a long text is no other language."""
_HAN_CLASS = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]"
_HAN = re.compile(f"{_HAN_CLASS}+")
_LATIN_CLASS = r"[A-Za-z\u00c0-\u024f]"
_LATIN = re.compile(rf"{_LATIN_CLASS}+(?:['’][A-Za-z]+)?")
# Scripts of other languages; kana and Hangul stand beside Han characters in theirs.
_OTHER_CLASS = (
    "[\u0370-\u1fff\u2c00-\u2fdf\u3040-\u30ff\u3100-\u318f\ua000-\uabff\uac00-\ud7af"
    "\ufb1d-\ufdff\ufe70-\ufeff]"
)
_OTHER = re.compile(f"{_OTHER_CLASS}+")
_CHARACTERS_A_WORD = 1.6
"""Of Chinese: so many characters say what a word of English says."""
_SHARE = 0.2
"""Of the words, from which on a second language counts."""
_IS_HAN, _LATIN_LETTER, _OTHER_LETTER, _APOSTROPHE, _NOT_ASCII = (1 << bit for bit in range(5))

Words = NDArray[np.float64]


def language(text: str) -> Language:
    """Chinese, English (any Latin script), both, or neither.

    >>> [language(t) for t in ("我的iPhone坏了怎么办", "Hello!", "请把 reset password 发我", "12")]
    ['zh', 'en', 'mixed', 'other']
    """
    text = text[:_LONGEST]
    latin = len(_LATIN.findall(text))
    if text.isascii():
        return "en" if latin else "other"
    han = sum(map(len, _HAN.findall(text))) / _CHARACTERS_A_WORD
    other = sum(map(len, _OTHER.findall(text))) / _CHARACTERS_A_WORD
    words = han + latin + other
    if not words or other > words / 4:
        return "other"
    if han and latin and _SHARE <= latin / words <= 1 - _SHARE:
        return "mixed"
    return "zh" if han > latin else "en"


def languages(texts: Joined, rows: Sequence[int]) -> list[Language]:
    """`language` of each row's texts with a line end between them; `rows` of them stand together.

    Rows that are long, or in which an apostrophe may join two words into one, are read one by one.
    """
    if not rows:
        return []
    kinds = texts.kinds(_table())
    firsts = np.cumsum([0, *rows])
    starts = texts.starts[firsts[:-1]]
    held = np.bitwise_or.reduceat(kinds, starts)
    latin = kinds & _LATIN_LETTER > 0
    begun = latin.copy()
    begun[1:] &= ~latin[:-1]

    def count(at: Mask) -> NDArray[np.int32]:
        return np.add.reduceat(at, starts, dtype=np.int32)

    han, other = (count(kinds & kind > 0) / _CHARACTERS_A_WORD for kind in (_IS_HAN, _OTHER_LETTER))
    found = _told(held & _NOT_ASCII > 0, han, count(begun), other)
    long = texts.ends[firsts[1:] - 1] - starts > _LONGEST
    joined = (held & _NOT_ASCII > 0) & (held & _LATIN_LETTER > 0) & (held & _APOSTROPHE > 0)
    for row in np.flatnonzero(long | joined).tolist():
        found[row] = language("\n".join(texts.texts[firsts[row] : firsts[row + 1]]))
    return found


def _told(odd: Mask, han: Words, latin: NDArray[np.int32], other: Words) -> list[Language]:
    """Of each row by how many words of each script it has; `odd` are rows of more than ASCII."""
    words = han + latin + other
    neither = np.where(odd, (words == 0) | (other > words / 4), latin == 0)
    share = latin / np.maximum(words, 1)
    both = odd & (han > 0) & (latin > 0) & (share >= _SHARE) & (share <= 1 - _SHARE)
    chosen = np.select([neither, both, odd & (han > latin)], [0, 1, 2], 3)
    names: tuple[Language, ...] = ("other", "mixed", "zh", "en")
    return [names[at] for at in chosen.tolist()]


@lru_cache(maxsize=1)
def _table() -> Kinds:
    classes = {_IS_HAN: _HAN_CLASS, _LATIN_LETTER: _LATIN_CLASS, _OTHER_LETTER: _OTHER_CLASS}
    return kinds_of(classes | {_APOSTROPHE: "['’]", _NOT_ASCII: r"[^\x00-\x7f]"})
