"""In which of many texts the built-in steps of cleaning could find something.

What a step asks for is told of thousands of texts at once by their characters; a text that is told
here may still be clean, one that is not told is.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np

from feedback_store.joined import Joined, Kinds, Mask, kinds_of, next_to
from rlhf.data.characters import INVISIBLE, LINE_ENDS, MARK, SPACES, WIDE

_ODD, _MARK, _SPACE, _BLANK = (1 << bit for bit in range(4))


@lru_cache(maxsize=1)
def _table() -> Kinds:
    odd = f"[<&{WIDE}{INVISIBLE}{LINE_ENDS}{SPACES}]"
    return kinds_of({_ODD: odd, _MARK: MARK, _SPACE: r"[ \n]", _BLANK: r"\s"})


def unclean(texts: Joined) -> Mask:
    """The texts with markup, odd characters, doubled marks or spaces, or parts to compose."""
    kinds = texts.kinds(_table())
    mark, space = kinds & _MARK > 0, kinds & _SPACE > 0
    found = texts.held(kinds) & _ODD > 0
    found |= texts.with_any(next_to(mark, mark) | next_to(space, space))
    for edge in (texts.starts, np.maximum(texts.starts, texts.ends - 1)):
        found |= kinds[edge] & _BLANK > 0
    if not unicodedata.is_normalized("NFC", texts.text):
        found |= [not unicodedata.is_normalized("NFC", text) for text in texts.texts]
    return found
