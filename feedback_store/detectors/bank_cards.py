"""Payment cards: Luhn's checksum under a prefix that an issuer owns."""

import re
from collections.abc import Iterator
from typing import Final

from stdnum import luhn

from feedback_store.detectors.numbers import bare, groups, in_decimal, spelt_out

_CARD = re.compile(r"(?<!\d)(?=([2-689](?:[ -]?\d){11,17}[ -]?\d)(?!\d))")

# How people break a card's digits apart, besides fours; other breaks are lists of small numbers.
_GROUPS: Final = {(4, 6, 5), (4, 6, 4), (6, 13), (6, 10), (8, 8), (6, 4, 9), (6, 4, 4, 5)}


def bank_cards(text: str) -> Iterator[tuple[int, int]]:
    """Card numbers, whole or broken apart as they are on cards."""
    for match in _CARD.finditer(text):
        sizes = groups(match[1])
        fours = all(size == 4 for size in sizes[:-1]) and sizes[-1] <= 4
        if len(sizes) > 1 and not (fours or sizes in _GROUPS or spelt_out(text, match)):
            continue
        digits = bare(match[1])
        if _issued(digits) and luhn.is_valid(digits) and not in_decimal(text, match):
            yield match.span(1)


def _issued(digits: str) -> bool:
    """Whether a card network or a Chinese bank owns the prefix, at this length."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    return (
        (digits[0] == "4" and size in (13, 16, 19))
        or (size == 16 and (51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589))
        or (size == 15 and two in (34, 37))
        or (size == 14 and (two in (36, 38, 39) or 3000 <= four <= 3059))
        or (two in (62, 81) and 16 <= size <= 19)
        or (16 <= size <= 19 and (four == 6011 or two == 65 or 6440 <= four <= 6499))
        or (size in (16, 19) and (four in (9558, 9559, 6013, 6014, 6016) or digits[:3] == "940"))
        or (16 <= size <= 19 and (two in (50, 63, 67) or 56 <= two <= 58))
    )
