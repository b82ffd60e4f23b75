"""What each of Unicode's characters is to the rewards: two tables to look a whole batch up in.

The tables are made of the very patterns that read one text, so the two can't disagree.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.texts.plain import FILLERS, KEPT, shown
from rewards.texts.text import CJK as CJK_CLASS
from rewards.texts.text import EMOJI as EMOJI_CLASS

CJK = 1 << 0
WORD = 1 << 1  # a letter or digit of another script
EMOJI = 1 << 2
SOMETHING = 1 << 3  # what a sentence has besides punctuation
SPACE = 1 << 4
STOP = 1 << 5  # 。！？!?；; end a sentence wherever they stand, a full stop not always
NEWLINE = 1 << 6
DOT = 1 << 7
ELLIPSIS = 1 << 8
APOSTROPHE = 1 << 9
DIGIT = 1 << 10
AT = 1 << 11
FILLER = 1 << 12  # between spaced-out characters, as `rewards.texts.plain` closes them up
ODD = 1 << 13  # needs its neighbours or more than one lower-case letter: read by itself
DISGUISED = 1 << 14  # `rewards.texts.plain` makes a letter, digit or the like of it, or nothing
FOREIGN = 1 << 15  # a letter or digit that is none of a-z and 0-9

_COUNT = 0x110000
# Between and behind these planes Unicode has nothing but private and unassigned characters.
_ASSIGNED = ((0, 0x32400), (0xE0000, 0xE0200))
# Letters that a pattern without case takes for s, k and i of ASCII's, and the capital sigma, whose
# lower case depends on what follows.
_CASELESS = "\u017f\u212a\u0130\u0131\u03a3"


class Characters(NamedTuple):
    """Two tables over all code points."""

    lower: NDArray[np.uint32]
    """Its lower case; both apostrophes are one."""
    kinds: NDArray[np.uint16]
    """The constants above, joined."""


_PATTERNS = {
    CJK: f"[{CJK_CLASS}]",
    WORD: rf"[^\W_{CJK_CLASS}]",
    EMOJI: f"[{EMOJI_CLASS}]",
    SOMETHING: rf"[\w{EMOJI_CLASS}]",
    SPACE: r"\s",
    STOP: "[。！？!?；;]",
    NEWLINE: r"\n",
    DOT: r"\.",
    ELLIPSIS: "…",
    APOSTROPHE: "['’]",
    DIGIT: r"\d",
    AT: "@",
    FILLER: f"[{FILLERS}]",
    ODD: f"[{_CASELESS}]",
    DISGUISED: f"[{_CASELESS}]",
}
_CJK = re.compile(f"[{CJK_CLASS}]")


@lru_cache(maxsize=1)
def characters() -> Characters:
    """Build the tables, once a process (0.4 s)."""
    tables = Characters(np.arange(_COUNT, dtype=np.uint32), np.zeros(_COUNT, np.uint16))
    for start, end in _ASSIGNED:
        _fill(tables, start, "".join(map(chr, range(start, end))))
    _, kinds = tables
    both = (kinds & EMOJI > 0) & (kinds & WORD > 0)
    kinds[both | ((kinds & CJK > 0) & (kinds & SOMETHING == 0))] |= ODD
    kinds[128:][kinds[128:] & WORD > 0] |= FOREIGN
    kinds[both] &= ~np.uint16(EMOJI)  # so that a token is one thing, even in a text not used
    tables.lower[ord("’")] = ord("'")
    return tables


def _fill(tables: Characters, first: int, chars: str) -> None:
    for kind, pattern in _PATTERNS.items():
        for found in re.finditer(f"(?:{pattern})+", chars):
            tables.kinds[first + found.start() : first + found.end()] |= kind
    for code, char in enumerate(chars, start=first):
        small = char.lower()
        if small != char and len(small) == 1:
            tables.lower[code] = ord(small)
        if not char.isascii() and (seen := shown(char)) != char:
            tables.kinds[code] |= _folded(seen)


def _folded(seen: str) -> int:
    """What a character is by its looks, where they are not its own."""
    kind = AT if "@" in seen else 0
    if len(seen) == 1 and seen in FILLERS:
        kind |= FILLER
    told = any(char.isalnum() or char in KEPT or _CJK.match(char) for char in seen)
    spaced = len(seen) > 1 and any(char in FILLERS for char in seen)
    return kind | (DISGUISED if not seen or told or spaced else 0)
