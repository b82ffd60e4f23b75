"""Traditional Chinese characters as simplified ones, by OpenCC's dictionaries."""

from __future__ import annotations

from functools import cache
from typing import Any

import opencc

_HAN = (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000))


def to_simplified(text: str) -> str:
    """`醫生說頭髮` → `医生说头发`; a text without traditional characters is returned at once."""
    if text.isascii() or _traditional().isdisjoint(text):
        return text
    converted: str = _converter().convert(text)
    return converted


@cache
def _converter() -> Any:
    return opencc.OpenCC("t2s")


@cache
def _traditional() -> frozenset[str]:
    """The characters that OpenCC changes, asked one by one."""
    asked = list(map(chr, _HAN))
    told = _converter().convert("\n".join(asked)).split("\n")
    return frozenset(old for old, new in zip(asked, told, strict=True) if old != new)
