"""Telephone numbers: mobile, landline and international ones."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import phonenumbers

from feedback_store.detectors.numbers import groups, in_decimal, spelt_out

_MOBILE = re.compile(
    r"(?<!\d)(?=((?:\(?(?:\+|00)?86\)?[ -]{0,2})?1[ .-]?[3-9](?:[ .-]?\d){9})(?![\dA-Za-z]))"
)
_LANDLINE = re.compile(
    r"(?<![A-Za-z\d])(?=((?:\(?(?:\+|00)?86\)?[ -]{0,2})?(?:\(0\d{2,3}\)|0?\d{2,3})[ -]{0,2}"
    r"[2-8]\d{2,3}[ -]?\d{4}(?:-\d{1,5})?)(?![\dA-Za-z]))"
)
_INTERNATIONAL = re.compile(
    r"(?<![A-Za-z\d_+])(?:\+|00(?=\d{1,3}[ -]))[1-9](?:[ ().-]{0,2}\d){6,14}"
)
_AMERICAN = re.compile(
    r"(?<![A-Za-z\d_.-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])"
    r"[2-9]\d\d[.-]\d{4}(?![A-Za-z\d_-])"
)

# How people break eleven digits apart; other breaks are lists of small numbers.
_MOBILE_GROUPS: Final = {
    (11,), (3, 4, 4), (4, 3, 4), (3, 8), (7, 4), (4, 4, 3), (3, 3, 5), (5, 6), (6, 5), (5, 3, 3)
}  # fmt: skip
_OPEN_TO_ALL: Final = {
    phonenumbers.PhoneNumberType.TOLL_FREE,
    phonenumbers.PhoneNumberType.SHARED_COST,
    phonenumbers.PhoneNumberType.PREMIUM_RATE,
}


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Mobile, landline and international numbers; hotlines open to all are nobody's."""
    for match in _MOBILE.finditer(text):
        sizes = groups(re.sub(r"^\(?(?:\+|00)?86\)?", "", match[1]))
        if (sizes in _MOBILE_GROUPS or spelt_out(text, match)) and not in_decimal(text, match):
            yield match.span(1)
    for match in _LANDLINE.finditer(text):
        without_extension = re.sub(r"-\d{1,5}$", "", match[1])
        numbers = (match[1], without_extension)
        if any(map(_is_landline, numbers)) and not in_decimal(text, match):
            yield match.span(1)
    for match in _INTERNATIONAL.finditer(text):
        if end := _international_end(match[0]):
            yield match.start(), match.start() + end
    for match in _AMERICAN.finditer(text):
        if _is_private(match[0], "US"):
            yield match.span()


def _is_landline(number: str) -> bool:
    area = re.sub(r"^\(?(?:\+|00)?86\)?[ -]{0,2}", "", number)
    if area == number and not area.startswith(("0", "(0")):
        return False  # without 0 or country code it is a plain number
    national = area if area.startswith(("0", "(0")) else f"0{area}"
    return _is_private(national, "CN", phonenumbers.PhoneNumberType.FIXED_LINE)


def _international_end(number: str) -> int:
    """Where the longest valid number ends that this text begins with; 0 if there is none."""
    number = re.sub("^00", "+ ", number)  # keeps the length
    if len(groups(number)) > 7:
        return 0  # a list of small numbers; asking the numbering plans about each is slow
    for _ in range(4):  # what follows a number ("... 2671 2 times") is seldom longer
        if _is_private(number, None):
            return len(number)
        number = re.sub(r"[ ().-]+\d+$", "", number)
    return 0


@lru_cache(maxsize=4096)
def _is_private(number: str, region: str | None, kind: int | None = None) -> bool:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    if not phonenumbers.is_valid_number(parsed):
        return False
    found = phonenumbers.number_type(parsed)
    return found == kind if kind is not None else found not in _OPEN_TO_ALL
