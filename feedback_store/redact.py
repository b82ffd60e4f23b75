"""Personal data out of a text: what `find` lists, `redact` replaces by a typed placeholder.

Each detector reads the text with full-width forms and odd dashes and spaces turned into ASCII, one
character for one, so its spans hold for the original. To add a kind, write a detector and put it
in `DETECTORS`; where two overlap, the one that stands first wins.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from feedback_store.detectors import bank_cards, emails, id_cards, phones

Detector = Callable[[str], Iterator[tuple[int, int]]]

DETECTORS: Final[dict[str, Detector]] = {
    "EMAIL": emails,
    "ID_CARD": id_cards,
    "BANK_CARD": bank_cards,
    "PHONE": phones,
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
# The shortest telephone number has seven digits; most texts hold neither and are done here.
_SUSPECT = re.compile(r"\d(?:[ ().-]{0,3}\d){6}|@")


class Span(NamedTuple):
    """text[start:end] is personal data of this kind."""

    start: int
    end: int
    kind: str


def find(text: str) -> list[Span]:
    """The personal data in a text, from left to right, none overlapping."""
    plain = text if text.isascii() else text.translate(_PLAIN)
    if not _SUSPECT.search(plain):
        return []
    spans: list[Span] = []
    taken = bytearray(len(plain))
    for kind, detector in DETECTORS.items():
        for start, end in detector(plain):
            if not any(taken[start:end]):
                taken[start:end] = b"\x01" * (end - start)
                spans.append(Span(start, end, kind))
    return sorted(spans)


def redact(text: str) -> str:
    """The text with `<KIND>` for all that `find` lists; redacting it again changes nothing."""
    # What hides one number can bare the next ("1.13812345678" is a decimal, "<PHONE>..." is not),
    # so look again until nothing is found; every turn removes digits, so it ends.
    while spans := find(text):
        parts = []
        at = 0
        for start, end, kind in spans:
            parts += [text[at:start], f"<{kind}>"]
            at = end
        text = "".join([*parts, text[at:]])
    return text
