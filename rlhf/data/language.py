"""The language of a text by its script: enough to count and to choose by, and fast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from feedback_store.joined import Joined, Kinds, kinds_of

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
_IS_HAN = 1


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

    A row of Chinese characters and no other letters, as most are, is not read by itself.
    """
    if not rows:
        return []
    firsts = np.cumsum([0, *rows])
    kinds = texts.kinds(_table())
    held = np.bitwise_or.reduceat(kinds, texts.starts[firsts[:-1]])
    short = texts.ends[firsts[1:] - 1] - texts.starts[firsts[:-1]] <= _LONGEST
    plain = short & (held == _IS_HAN)
    found: list[Language] = ["zh"] * len(rows)
    for row in np.flatnonzero(~plain).tolist():
        found[row] = language("\n".join(texts.texts[firsts[row] : firsts[row + 1]]))
    return found


@lru_cache(maxsize=1)
def _table() -> Kinds:
    return kinds_of({_IS_HAN: _HAN_CLASS, 2: f"{_LATIN_CLASS}|{_OTHER_CLASS}"})
