"""English addresses: house number, street and what follows; PO boxes; units of the forces."""

import re
from collections.abc import Iterator
from typing import Final

_STATE: Final = (
    "A[AEKLPRSZ]|C[AOT]|D[CE]|F[LM]|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|"
    "P[ARW]|RI|S[CD]|T[NX]|UT|V[AIT]|W[AIVY]"
)
_ZIP: Final = r"\d{5}(?:-\d{4})?(?!\d)"
_UK: Final = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"
_WORD: Final = r"[A-Z][A-Za-z'’.-]{0,24}"
_WORDS: Final = rf"{_WORD}(?: {_WORD}){{0,3}}"
_GAP: Final = r"[ ]{0,2}[,\n][ \n]{0,3}"
_UNIT: Final = (
    r"(?:(?:,? |\n)(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm|#)\.? ?#?"
    r"[A-Za-z]?\d{0,5}[A-Za-z]?\b)"
)
_SUFFIX: Final = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Terrace|"
    r"Circle|Cir|Parkway|Pkwy|Square|Highway|Hwy|Way|Trail|Crescent|Close|Mews)\b\.?"
)
_CITY: Final = rf"{_WORDS}(?:,? (?:{_STATE})(?:,? {_ZIP})|,? {_UK}|, (?:{_STATE})\b)"
_HOUSE: Final = r"(?<![\w.,:$€£#/-])(?=(\d{1,5}[A-Za-z]?(?:-\d{1,4})?) [A-Z\d])"

_MAYBE = re.compile(r"\d[A-Za-z]? [A-Z\d]")
_STREET = re.compile(
    rf"{_HOUSE}\d{{1,5}}[A-Za-z]?(?:-\d{{1,4}})? (?:[NSEW]{{1,2}}\.? )?"
    rf"(?:\d{{1,3}}(?:st|nd|rd|th) |(?:{_WORD} ){{1,3}}?){_SUFFIX}(?: [NSEW]{{1,2}}\b)?"
    rf"(?P<more>{_UNIT}?(?:{_GAP}{_CITY})?)",
    re.ASCII,
)
_WITH_ZIP = re.compile(
    rf"{_HOUSE}\d{{1,5}}[A-Za-z]? {_WORD}(?: {_WORD}){{0,3}}{_UNIT}?{_GAP}"
    rf"{_WORDS},? (?:{_STATE}),? {_ZIP}",
    re.ASCII,
)
_BOX = re.compile(
    rf"P\.? ?O\.? ?Box \d{{1,6}}(?:{_GAP}{_CITY})?"
    rf"|(?:PSC \d{{3,5}},? Box \d{{1,5}}|Unit \d{{3,5}},? Box \d{{1,5}}|US(?:NS|S|CGC|NV) {_WORD})"
    rf"{_GAP}[ADF]PO A[AEP] {_ZIP}",
    re.ASCII,
)
_ANNOUNCED = re.compile(
    r"(?:\baddress(?: is|:)?|\bhome is|"
    r"\b(?:live[sd]?|living|reside[sd]?|stay(?:ing)?|located|based) (?:at|on)|"
    r"\b(?:ship|deliver|delivered|send|sent|mail|mailed|moved|come)(?: it)? to|"
    r"\b(?:house|home|i'm|me up) at)[: ]*$",
    re.IGNORECASE | re.ASCII,
)
# "3 Red Square tourists", "5 Better Way": without a cue these need a city behind them.
_SIGHT = re.compile(r"(?:Place|Square|Way|Circle|Close|Court|Trail)$")
_YEARS: Final = range(1800, 2100)


def english_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Streets with a house number; one that could be a year needs a city, a unit or a cue."""
    if "Box" in text or "PO A" in text:
        for match in _BOX.finditer(text):
            yield match.span()
    if " " not in text or not _MAYBE.search(text):
        return
    for match in _WITH_ZIP.finditer(text):
        yield match.span()
    for match in _STREET.finditer(text):
        plain = _is_house(match[1]) and not _SIGHT.search(match[0])
        if plain or match["more"] or _announced(text, match.start()):
            # "... on Elm St." ends a sentence as often as an abbreviation.
            yield match.start(), match.end() - match[0].endswith(".")


def _is_house(number: str) -> bool:
    return not number.isdigit() or (int(number) not in _YEARS and int(number) > 0)


def _announced(text: str, start: int) -> bool:
    return _ANNOUNCED.search(text[max(0, start - 24) : start]) is not None
