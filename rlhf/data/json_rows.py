"""Rows of a JSON array or of JSON lines, each known by its file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from rlhf.errors import DataError


def json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row with its file and line; raises `DataError` at what is not JSON."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        broken = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{broken}: is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if text.lstrip().startswith("["):
        yield from _array(path, text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                yield where, _DECODER.decode(line)
            except (ValueError, RecursionError) as error:
                raise _not_json(where, error) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Python's own reader takes NaN and Infinity, which no other reader of the file would.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_SPACE = re.compile(r"[ \t\r\n]*")


def _array(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """The rows of a JSON array, one by one, so that each is known by its line."""
    at, line, counted = _skip(text, text.index("[") + 1), 1, 0
    more = text[at : at + 1] != "]"
    while more:
        line, counted = line + text.count("\n", counted, at), at
        try:
            row, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            broken = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise _not_json(f"{path}:{broken}", error) from error
        yield f"{path}:{line}", row
        at = _skip(text, end)
        more = text[at : at + 1] == ","
        at = _skip(text, at + 1) if more else at
    if text[at : at + 1] != "]" or text[at + 1 :].strip():
        broken = text.count("\n", 0, at) + 1
        raise DataError(f"{path}:{broken}: is not valid JSON: the array must end after a row")


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _not_json(where: str, error: ValueError | RecursionError) -> DataError:
    why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return DataError(f"{where}: is not valid JSON ({why}); mend or remove the row")
