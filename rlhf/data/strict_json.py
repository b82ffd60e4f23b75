"""JSON as a stranger sends it: what readers disagree on, or choke on, is refused with a reason."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from rlhf.errors import DataError

MAX_DEPTH = 100
# An integer past this is no count, time or id that anything here takes, and costs time squared.
_MAX_DIGITS = 20
_MAX_FLOAT = 64

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(data: bytes) -> Any:
    """The value of one JSON text; raises `DataError` whose text is the reason alone."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start + 1} of the row)") from error
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _refuse_depth(data)
    try:
        value = _decoded(text)
    except json.JSONDecodeError as error:
        raise DataError(f"is not valid JSON ({error.msg}; character {error.pos + 1})") from error
    except RecursionError as error:  # pragma: no cover - depth is limited before
        raise DataError("is nested too deeply") from error
    if _HALF.search(data):
        _refuse_halves(value)
    return value


def _refuse_depth(data: bytes) -> None:
    depth = 0
    for byte in _STRING.sub(b"", data):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise DataError(f"is nested more than {MAX_DEPTH} deep")
        elif byte in b"]}":
            depth -= 1


def _refuse_halves(value: Any) -> None:
    """JSON can write half of a surrogate pair, which no file or database takes later."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError("holds half of a surrogate pair") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DataError(f"has the key {key[:40]!r} twice")
            seen.add(key)
    return made


def _constant(name: str) -> NoReturn:
    raise DataError(f"holds {name}, which is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise DataError(f"holds a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= _MAX_FLOAT else math.inf
    if not math.isfinite(value):
        raise DataError("holds a number that is too large or too long")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
)


def _decoded(text: str) -> Any:
    """The value; the decoder's own way is for white space around it and for what is wrong."""
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError:
        return _DECODER.decode(text)
    return value if end == len(text) else _DECODER.decode(text)
