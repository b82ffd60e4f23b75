"""Mainland identity cards: 18 digits with their checksum, or the old 15."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

from stdnum.cn import ric

from feedback_store.detectors.numbers import bare, groups, in_decimal, spelt_out
from feedback_store.detectors.regions import known_digits

_ID_18 = re.compile(r"(?<!\d)(?=(\d(?:[ -]?\d){16}[ -]?[\dXx])(?![\dA-Za-z]))")
_ID_15 = re.compile(r"(?<!\d)(?=(\d(?:[ -]?\d){14})(?!\d))")
_GROUPS_15: Final = {(15,), (6, 6, 3), (6, 9), (12, 3)}


def id_cards(text: str) -> Iterator[tuple[int, int]]:
    """Numbers whose region and day of birth exist."""
    for match in _ID_18.finditer(text):
        digits = bare(match[1]).upper()
        checked = ric.calc_check_digit(digits) == digits[-1]
        if checked and _born(digits[6:14]) and known_digits(digits[:6]) >= 2:
            yield match.span(1)
    for match in _ID_15.finditer(text):
        if groups(match[1]) not in _GROUPS_15 and not spelt_out(text, match):
            continue
        digits = bare(match[1])
        # Without a checksum the county has to be a real one, too.
        known = known_digits(digits[:6]) == 6
        if known and _born("19" + digits[6:12]) and not in_decimal(text, match):
            yield match.span(1)


def _born(day: str) -> bool:
    try:
        return 1880 <= date(int(day[:4]), int(day[4:6]), int(day[6:])).year <= date.today().year
    except ValueError:
        return False
