"""Number plates of the mainland: ordinary ones, and those of new-energy cars with six places."""

import re
from collections.abc import Iterator
from typing import Final

# What each province is called for short.
PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_PLATE = re.compile(
    rf"[{PROVINCES}][ -]?[A-HJ-Za-hj-z]"
    r"[ ·•・.-]{0,2}"
    r"(?:[DFdfABCEGHJKabceghjk][A-HJ-NP-Za-hj-np-z\d]\d{4}"  # small new-energy cars
    r"|\d{5}[DFdfABCEGHJKabceghjk]"  # large ones
    r"|(?:[A-HJ-NP-Za-hj-np-z\d][ ]?){4}[A-HJ-NP-Za-hj-np-z\d挂学警港澳领使试超])"
    r"(?![A-Za-z\d])"
)
# Words that end on a province's short name: 最新A12345 is a product, 阿里云A12345 a server.
_WORD = re.compile(
    r"(?:[最全更崭创刷革翻]新|[里讯度公私有白乌]云|华为云|[平四]川|[年知]青|[安宝康]宁|大吉)$"
)
_MIN_DIGITS = 2


def plates(text: str) -> Iterator[tuple[int, int]]:
    """Plates with or without a dot, a dash or spaces; at least two of their places are digits."""
    for match in _PLATE.finditer(text):
        start, end = match.span()
        digits = sum(character.isdigit() for character in match[0])
        if digits >= _MIN_DIGITS and not _WORD.search(text, max(0, start - 2), start + 1):
            yield start, end
