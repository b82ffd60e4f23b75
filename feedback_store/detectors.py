"""Where in a text there are e-mail addresses, identity cards, bank cards and telephone numbers.

A pattern only proposes: starts are looked for inside a look-ahead, so that overlapping proposals
are all seen, every repeat has a bound, so that no text takes more than linear time, and what makes
a number a number (checksum, date, region, issuer, numbering plan) decides.
"""

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Final

import phonenumbers
from stdnum import luhn, numdb
from stdnum.cn import ric

Ranges = Iterator[tuple[int, int]]

_LOCAL = re.compile(r"[A-Za-z0-9._%+-]{1,64}$")
_DOMAIN = re.compile(r"@(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")

_ID_18 = re.compile(r"(?<!\d)(?=(\d(?:[ -]?\d){16}[ -]?[\dXx])(?![\dA-Za-z]))")
_ID_15 = re.compile(r"(?<!\d)(?=(\d{6}[ -]?\d{6}[ -]?\d{3})(?!\d))")
_CARD = re.compile(r"(?<!\d)(?=([2-689](?:[ -]?\d){11,17}[ -]?\d)(?!\d))")
_MOBILE = re.compile(
    r"(?<!\d)(?=((?:\(?(?:\+|00)?86\)?[ -]{0,2})?1[ .-]?[3-9](?:[ .-]?\d){9})(?![\dA-Za-z]))"
)
_LANDLINE = re.compile(
    r"(?<!\d)(?=((?:\(?(?:\+|00)?86\)?[ -]{0,2})?(?:\(0\d{2,3}\)|0?\d{2,3})[ -]{0,2}"
    r"[2-8]\d{2,3}[ -]?\d{4}(?:-\d{1,5})?)(?![\dA-Za-z]))"
)
_INTERNATIONAL = re.compile(r"(?<![\w+])(?:\+|00(?=\d{1,3}[ -]))[1-9](?:[ ().-]{0,2}\d){6,14}")
_AMERICAN = re.compile(
    r"(?<![\w.-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[.-]\d{4}(?![\w-])"
)

# How people break eleven and sixteen digits apart; other breaks are lists of small numbers.
_MOBILE_GROUPS: Final = {
    (11,), (3, 4, 4), (4, 3, 4), (3, 8), (7, 4), (4, 4, 3), (3, 3, 5), (5, 6), (6, 5), (5, 3, 3)
}  # fmt: skip
_CARD_GROUPS: Final = {(4, 6, 5), (4, 6, 4), (6, 13), (6, 10), (8, 8), (6, 4, 9), (6, 4, 4, 5)}
_OPEN_TO_ALL: Final = {
    phonenumbers.PhoneNumberType.TOLL_FREE,
    phonenumbers.PhoneNumberType.SHARED_COST,
    phonenumbers.PhoneNumberType.PREMIUM_RATE,
}


def emails(text: str) -> Ranges:
    """Addresses; looked for around each @, which keeps long runs of letters cheap."""
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text, max(0, at - 64), at)
        domain = _DOMAIN.match(text, at)
        if local and domain:
            yield local.start(), domain.end()
        at = text.find("@", at + 1)


def id_cards(text: str) -> Ranges:
    """Mainland identity cards: 18 digits with their checksum, or the old 15."""
    for match in _ID_18.finditer(text):
        digits = _bare(match[1]).upper()
        if ric.calc_check_digit(digits) == digits[-1] and _born(digits[6:14]) and _known(digits, 2):
            yield match.span(1)
    for match in _ID_15.finditer(text):
        digits = _bare(match[1])
        # Without a checksum the county has to be a real one, too.
        if _born("19" + digits[6:12]) and _known(digits, 6) and not _in_decimal(text, match):
            yield match.span(1)


def bank_cards(text: str) -> Ranges:
    """Payment cards: Luhn's checksum under a prefix that an issuer owns."""
    for match in _CARD.finditer(text):
        groups = _groups(match[1])
        fours = all(size == 4 for size in groups[:-1]) and groups[-1] <= 4
        if len(groups) > 1 and not (fours or groups in _CARD_GROUPS or _spelt_out(text, match)):
            continue
        digits = _bare(match[1])
        if _issued(digits) and luhn.is_valid(digits) and not _in_decimal(text, match):
            yield match.span(1)


def phones(text: str) -> Ranges:
    """Mobile, landline and international numbers; hotlines open to all are nobody's."""
    for match in _MOBILE.finditer(text):
        groups = _groups(re.sub(r"^\(?(?:\+|00)?86\)?", "", match[1]))
        if (groups in _MOBILE_GROUPS or _spelt_out(text, match)) and not _in_decimal(text, match):
            yield match.span(1)
    for match in _LANDLINE.finditer(text):
        without_extension = re.sub(r"-\d{1,5}$", "", match[1])
        numbers = (match[1], without_extension)
        if any(map(_is_landline, numbers)) and not _in_decimal(text, match):
            yield match.span(1)
    for match in _INTERNATIONAL.finditer(text):
        if end := _international_end(match[0]):
            yield match.start(), match.start() + end
    for match in _AMERICAN.finditer(text):
        if _is_private(match[0], "US"):
            yield match.span()


def _bare(number: str) -> str:
    return number.replace(" ", "").replace("-", "")


def _groups(number: str) -> tuple[int, ...]:
    return tuple(len(group) for group in re.findall(r"\d+", number))


def _spelt_out(text: str, match: re.Match[str]) -> bool:
    """Whether the digits stand one by one, and the row of them ends where the match does."""
    start, end = match.span(1)
    alone = not re.search(r"\d[ -]$", text[max(0, start - 2) : start])
    return alone and not re.match(r"[ -]\d", text[end:][:2]) and set(_groups(match[1])) == {1}


def _in_decimal(text: str, match: re.Match[str]) -> bool:
    """Whether the digits are part of a fraction or an amount, like 0.4111 or ¥4111.50."""
    start, end = match.span(1)
    before = re.search(r"(?:\d\.|[$¥￥€£] ?)$", text[max(0, start - 2) : start])
    return bool(before or re.match(r"\.\d{1,4}(?!\d)", text[end : end + 6]))


def _born(day: str) -> bool:
    try:
        return 1880 <= date(int(day[:4]), int(day[4:6]), int(day[6:])).year <= date.today().year
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _region(code: str) -> int:
    """How many leading digits of a county code are known: 6 a county, 2 a province, 0 neither."""
    found = numdb.get("cn/loc").info(code)
    known = [len(part) for part, properties in found if properties]
    return sum(known)


def _known(digits: str, depth: int) -> bool:
    return _region(digits[:6]) >= depth


def _issued(digits: str) -> bool:
    """Whether a card network or a Chinese bank owns the prefix, at this length."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    return (
        (digits[0] == "4" and size in (13, 16, 18, 19))
        or (size == 16 and (51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589))
        or (size == 15 and two in (34, 37))
        or (size == 14 and (two in (36, 38, 39) or 3000 <= four <= 3059))
        or (two in (62, 81) and 16 <= size <= 19)
        or (16 <= size <= 19 and (four == 6011 or two == 65 or 6440 <= four <= 6499))
        or (size in (16, 19) and (four in (9558, 9559, 6013, 6014, 6016) or digits[:3] == "940"))
        or (16 <= size <= 19 and (two in (50, 63, 67) or 56 <= two <= 58))
    )


def _is_landline(number: str) -> bool:
    area = re.sub(r"^\(?(?:\+|00)?86\)?[ -]{0,2}", "", number)
    if area == number and not area.startswith(("0", "(0")):
        return False  # without 0 or country code it is a plain number
    national = area if area.startswith(("0", "(0")) else f"0{area}"
    return _is_private(national, "CN", phonenumbers.PhoneNumberType.FIXED_LINE)


def _international_end(number: str) -> int:
    """Where the longest valid number ends that this text begins with; 0 if there is none."""
    number = re.sub("^00", "+ ", number)  # keeps the length
    if len(_groups(number)) > 7:
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
