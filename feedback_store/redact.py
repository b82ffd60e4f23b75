"""Personal data out of a text: what `find` lists, `redact` replaces by a typed placeholder.

Each detector reads the text with full-width forms and odd dashes and spaces turned into ASCII, one
character for one, so its spans hold for the original. To add a kind, write a detector and put it
in `DETECTORS`; where two overlap, the one that stands first wins.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from feedback_store.cues import with_cues
from feedback_store.detectors import (
    addresses,
    bank_cards,
    emails,
    id_cards,
    names,
    passports,
    phones,
    plates,
)
from feedback_store.detectors.numbers import LONG_NUMBER
from feedback_store.joined import Joined

Detector = Callable[[str], Iterator[tuple[int, int]]]

DETECTORS: Final[dict[str, Detector]] = {
    "EMAIL": emails,
    "ID_CARD": id_cards,
    "BANK_CARD": bank_cards,
    "PASSPORT": passports,
    "PHONE": phones,
    "PLATE": plates,
    "ADDRESS": addresses,
    "NAME": names,
}
PLACEHOLDER: Final = re.compile(f"<(?:{'|'.join(DETECTORS)})>")

_DASHES = "‐‑‒–—―−﹣－"
_SPACES = "\u00a0\u2002\u2003\u2007\u2009\u200a\u200b\u200c\u200d\u2060\u202f\u3000\ufeff\t"
_ZEROS = (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50, *range(0x1D7CE, 0x1D7FF, 10))
_PLAIN: Final = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {chr(zero + digit): str(digit) for zero in _ZEROS for digit in range(10)}
    | dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_SPACES, " ")
)
_SEEN_AS: Final = tuple(_PLAIN.items())
# Replacing these few first leaves most Chinese texts without any of the others, and one character
# at a time is fast; a translation asks about every character of the text.
_COMMON: Final = tuple((mark, chr(ord(mark) - 0xFEE0)) for mark in "，？！：；（）")
# Apart from what lies beyond 16 bits, which would make the set a list that is searched one by one.
_UNCOMMON: Final = re.compile(
    f"[{''.join(re.escape(chr(code)) for code in _PLAIN if code < 0x10000)}]"
)
_MATHEMATICAL: Final = re.compile("[\U0001d7ce-\U0001d7ff]")
# Most texts hold no number this long, and are done with these kinds here.
_NUMBERS: Final = frozenset(("ID_CARD", "BANK_CARD", "PASSPORT", "PHONE"))
# What may hide a number by making it a fraction or a price; later turns read it as a stop.
_HIDES: Final = str.maketrans(".$¥￥€£", ",,,,,,")
_TURNS: Final = 4


class Span(NamedTuple):
    """text[start:end] is personal data of this kind."""

    start: int
    end: int
    kind: str


def find(text: str) -> list[Span]:
    """The personal data in a text, from left to right, none overlapping."""
    return _find(_plain(text))


def redact(text: str) -> str:
    """The text with `<KIND>` for all that `find` lists; redacting it again changes nothing."""
    # What hides one number can bare the next ("1.13812345678" is a decimal, "<PHONE>..." is not),
    # so look again until nothing is found. A text built so that each bares only the one after it
    # would take a turn for each: after a few turns nothing counts as a decimal any more.
    for turn in range(2 * _TURNS):
        plain = _plain(text)
        spans = _find(plain if turn < _TURNS else plain.translate(_HIDES))
        if not spans:
            break
        text = _replaced(text, spans)
    return text


def redact_all(texts: Sequence[str]) -> list[str]:
    """`redact` of each text; those without any cue are not read one by one."""
    cued = with_cues(Joined(texts), _SEEN_AS)
    found = list(texts)
    for at in np.flatnonzero(cued).tolist():
        found[at] = redact(texts[at])
    return found


def _plain(text: str) -> str:
    """The text as detectors read it, one character for one."""
    if text.isascii():
        return text
    for mark, ascii_mark in _COMMON:
        text = text.replace(mark, ascii_mark)
    odd = _UNCOMMON.search(text) or _MATHEMATICAL.search(text)
    return text.translate(_PLAIN) if odd else text


def _find(plain: str) -> list[Span]:
    spans: list[Span] = []
    taken = bytearray(len(plain))
    if "<" in plain:
        for placeholder in PLACEHOLDER.finditer(plain):
            _take(taken, *placeholder.span())
    numbers = LONG_NUMBER.search(plain) is not None
    for kind, detector in DETECTORS.items():
        if numbers or kind not in _NUMBERS:
            for start, end in detector(plain):
                if not any(taken[start:end]):
                    _take(taken, start, end)
                    spans.append(Span(start, end, kind))
    return sorted(spans)


def _take(taken: bytearray, start: int, end: int) -> None:
    taken[start:end] = b"\x01" * (end - start)


def _replaced(text: str, spans: list[Span]) -> str:
    parts = []
    at = 0
    for start, end, kind in spans:
        parts += [text[at:start], f"<{kind}>"]
        at = end
    return "".join([*parts, text[at:]])
