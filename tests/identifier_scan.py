"""Looks through the bytes of files for identifiers of people; knows nothing of the detectors."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from personal_data import COUNTIES, ISSUERS, id_check, luhn_check

_ID = re.compile(r"(?=(?<![0-9A-Za-z])((?:[0-9][ -]?){17}[0-9Xx])(?![0-9A-Za-z]))")
_CARD = re.compile(r"(?=(?<![0-9A-Za-z])([0-9](?:[ -]?[0-9]){14,18})(?![0-9A-Za-z]))")
_BREAKS = re.compile(r"[\s-]+")


def identifiers_in(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """(file's name, identifier) for each checksum-valid identity card or bank card."""
    for path in files:
        text = _text(path)
        for match in _ID.finditer(text):
            if _is_id(number := _BREAKS.sub("", match[1]).upper()):
                yield path.name, number
        for match in _CARD.finditer(text):
            if _is_card(number := _BREAKS.sub("", match[1])):
                yield path.name, number


def planted_in(files: Iterable[Path], planted: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(file's name, value) for each of these values, however its digits are broken apart."""
    wanted = {_flat(value) for value in planted}
    for path in files:
        text = _flat(_text(path))
        yield from ((path.name, value) for value in sorted(wanted) if value in text)


def all_files(folder: Path) -> list[Path]:
    """Every file below a folder: a store's with its WAL, a snapshot's with its manifest."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _text(path: Path) -> str:
    """The bytes as text, in one form of each digit; UTF-16 in nobody's files."""
    return unicodedata.normalize("NFKC", path.read_bytes().decode("utf-8", errors="replace"))


def _flat(text: str) -> str:
    return _BREAKS.sub("", unicodedata.normalize("NFKC", text)).lower()


def _is_id(number: str) -> bool:
    if number[:2] not in {county[:2] for county in COUNTIES} or id_check(number[:17]) != number[17]:
        return False
    try:
        return 1900 < date(int(number[6:10]), int(number[10:12]), int(number[12:14])).year < 2027
    except ValueError:
        return False


def _is_card(number: str) -> bool:
    issued = any(number.startswith(prefix) and len(number) == size for prefix, size in ISSUERS)
    return issued and luhn_check(number[:-1]) == number[-1]
