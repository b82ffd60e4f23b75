"""Rows from a file of any size, one at a time: JSON lines, a JSON array, JSON values, or CSV.

No more than one row is held, and none longer than the limit: what is longer is passed over and
told. A row is known by the line that it begins on. Reading is by bytes, so that a row which is not
UTF-8 is refused alone.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rlhf.errors import DataError

MAX_ROW_BYTES = 16 << 20
_BLOCK = 1 << 16
_BOM = b"\xef\xbb\xbf"

# What a file's first bytes say that it is, longest first, and the way out.
_UTF8 = "save it as UTF-8 (iconv -f {0} -t UTF-8)"
_UNPACK = "unpack it first"
_NOT_TEXT: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xfe\x00\x00", "UTF-32", _UTF8),
    (b"\x00\x00\xfe\xff", "UTF-32", _UTF8),
    (b"\xff\xfe", "UTF-16", _UTF8),
    (b"\xfe\xff", "UTF-16", _UTF8),
    (b"\x1f\x8b", "gzip", _UNPACK),
    (b"PK\x03\x04", "zip", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd", _UNPACK),
    (b"PAR1", "Parquet", "write it as JSON lines first (datasets: `to_json`)"),
    (b"SQLite format 3\x00", "an SQLite database", "export it as JSON first"),
)


class Raw(NamedTuple):
    """A row's bytes as JSON and the line that it begins on; with a problem, it can't be read.

    `inner` marks one that stood in a document's list of rows.
    """

    line: int
    data: bytes
    problem: str = ""
    inner: bool = False


class Source(NamedTuple):
    """A file's rows, how far it is read in bytes, and whether it began with a byte order mark."""

    rows: Iterator[Raw]
    position: Callable[[], int]
    marked: bool


def open_rows(
    file: BinaryIO, path: Path, limit: int = MAX_ROW_BYTES, within: Sequence[str] = ()
) -> Source:
    """The rows of an open file; raises `DataError` where it is no text that can be read.

    `within` are the keys that lead to a document's list of rows: where they come first in it, its
    rows are read one at a time, else the document is one row.
    """
    head = file.read(_BLOCK)
    _refuse_other_kinds(head, path)
    marked = head.startswith(_BOM)
    start = len(_BOM) if marked else 0
    file.seek(start)
    return Source(_rows(file, path, head[start:], limit, within), file.tell, marked)


def _refuse_other_kinds(head: bytes, path: Path) -> None:
    for magic, name, remedy in _NOT_TEXT:
        if head.startswith(magic):
            raise DataError(f"{path}: is {name}, not UTF-8 text; {remedy.format(name)}")
    if b"\x00" in head[:2]:
        raise DataError(f"{path}: is UTF-16 without a mark; {_UTF8.format('UTF-16')}")


def _rows(
    file: BinaryIO, path: Path, head: bytes, limit: int, within: Sequence[str]
) -> Iterator[Raw]:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _table(file, path, "\t" if suffix == ".tsv" else ",", limit)
    begin = head.lstrip()
    if begin.startswith(b"["):
        return _array(file, limit)
    if within and suffix not in (".jsonl", ".ndjson") and _opening(within).match(begin):
        return _pages(file, limit, within)
    first = begin.partition(b"\n")[0].rstrip()
    by_line = suffix in (".jsonl", ".ndjson") or first.endswith(b"}") or len(first) == len(begin)
    if begin.startswith(b"{") and not by_line:
        return _values(file, limit)
    return (raw for raw in _lines(file, limit) if raw.problem or raw.data)


def _lines(file: BinaryIO, limit: int) -> Iterator[Raw]:
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) > limit and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(_BLOCK)
            yield Raw(number, b"", _too_long(limit))
        else:
            yield Raw(number, line.strip())


def _too_long(limit: int) -> str:
    return f"is longer than {limit} bytes (--max-row-bytes)"


class _Pieces:
    """The bytes of the row at hand, no more of them than the limit, and where they began."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.line = 1
        self._kept = bytearray()
        self._newlines = 0
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._newlines += piece.count(b"\n")
        self._size += len(piece)
        self._kept += piece[: max(0, self.limit + 1 - len(self._kept))]

    def held(self) -> bytes:
        """What was kept so far."""
        return bytes(self._kept)

    def take(self) -> Raw:
        """The row, at its end."""
        data = bytes(self._kept).lstrip()
        lead = bytes(self._kept[: len(self._kept) - len(data)])
        line = self.line + lead.count(b"\n")
        long = self._size - len(lead) > self.limit
        self.line += self._newlines
        self._kept.clear()
        self._newlines = self._size = 0
        return Raw(line, b"", _too_long(self.limit)) if long else Raw(line, data.rstrip())


_BROKEN = "is not valid JSON (a text isn't closed on its line)"
_OUTSIDE = re.compile(rb'["\[\]{},]')
_INSIDE = re.compile(rb'["\\\n]')


def _marks(block: bytes, quoted: bool, escaped: bool) -> Iterator[tuple[int, int]]:
    """Each bracket and comma outside of strings as (place, byte); last (-1, state of the string).

    JSON has no line break within a string: one there is told too, and an unclosed string ends.
    """
    at = 1 if escaped else 0
    while found := (_INSIDE if quoted else _OUTSIDE).search(block, at):
        at, byte = found.end(), block[found.start()]
        if byte == 0x5C:
            at += 1
        elif byte == 0x22:
            quoted = not quoted
        else:
            quoted = False
            yield found.start(), byte
    yield -1, quoted + 2 * (at > len(block))


def _tokens(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The file as pieces, each ending at what `_marks` tells (its byte) or at a block's end (0)."""
    quoted = escaped = False
    while block := file.read(_BLOCK):
        begin = 0
        for place, byte in _marks(block, quoted, escaped):
            if place < 0:
                quoted, escaped = bool(byte & 1), bool(byte & 2)
            else:
                yield block[begin : place + 1], byte
                begin = place + 1
        yield block[begin:], 0


def _array(file: BinaryIO, limit: int) -> Iterator[Raw]:
    """What stands between the commas of the outermost array."""
    pieces, depth, count = _Pieces(limit), 0, 0
    tokens = _tokens(file)
    for piece, byte in tokens:
        closes = depth == 1 and byte == 0x5D
        if closes or (depth == 1 and byte == 0x2C):
            pieces.add(piece[:-1])
            raw = pieces.take()
            if raw.data or raw.problem:
                yield raw
            elif count or not closes:
                yield raw._replace(problem="has a comma without a row")
            count += 1
            if closes:
                break
        elif depth == 0 and byte == 0x5B:
            pieces.add(piece)
            pieces.take()
            depth = 1
        elif byte == 0x0A and depth:
            pieces.add(piece)
            yield pieces.take()._replace(problem=_BROKEN)
            depth, count = 1, 0
        else:
            pieces.add(piece)
            # A brace that closes nothing is the row's own fault, not the array's end.
            depth += (byte in b"[{") - (byte in b"]}" and depth > 1) if byte else 0
    else:
        yield pieces.take()._replace(data=b"", problem="the file ends within a row")
        return
    yield from _after(tokens, pieces)


def _after(tokens: Iterator[tuple[bytes, int]], pieces: _Pieces) -> Iterator[Raw]:
    for piece, _ in tokens:
        if piece.strip():
            yield pieces.take()._replace(problem="stands after the array's end and is not read")
            return


def _values(file: BinaryIO, limit: int) -> Iterator[Raw]:
    """JSON values one after the other, each over as many lines as it likes."""
    pieces, depth = _Pieces(limit), 0
    for piece, byte in _tokens(file):
        pieces.add(piece)
        depth += (byte in b"[{") - (byte in b"]}" and depth > 0) if byte else 0
        if byte == 0x0A:
            yield pieces.take()._replace(problem=_BROKEN)
            depth = 0
        elif byte and byte in b"]}" and depth == 0:
            yield pieces.take()
    rest = pieces.take()
    if rest.data or rest.problem:
        yield rest._replace(problem="the file ends within a row")


def _opening(within: Sequence[str]) -> re.Pattern[bytes]:
    """How a document begins whose first keys lead to its rows."""
    keys = (rb'\s*\{\s*"%b"\s*:' % re.escape(key).encode() for key in within)
    return re.compile(b"".join(keys) + rb"\s*\[")


def _pages(file: BinaryIO, limit: int, within: Sequence[str]) -> Iterator[Raw]:
    """The rows in the list that each document begins with; a document without one is a row."""
    pieces, depth, inside, state = _Pieces(limit), 0, len(within) + 1, "head"
    for piece, byte in _tokens(file):
        if state == "list" and depth == inside and byte in (0x2C, 0x5D):
            pieces.add(piece[:-1])
            raw = pieces.take()
            if raw.data or raw.problem:
                yield raw._replace(inner=True)
            if byte == 0x5D:
                depth, state = depth - 1, "tail"
            continue
        pieces.add(piece)
        if byte == 0x0A:
            yield pieces.take()._replace(problem=_BROKEN)
            depth, state = (inside, state) if state == "list" else (0, "head")
            continue
        lowest = inside if state == "list" else 0
        depth += (byte in b"[{") - (byte in b"]}" and depth > lowest) if byte else 0
        if state == "head" and depth == inside:
            state = "list" if _opening(within).fullmatch(pieces.held()) else "whole"
            if state == "list":
                pieces.take()
        elif depth == 0 and byte and byte in b"]}":
            raw = pieces.take()
            if state != "tail":
                yield raw
            state = "head"
    rest = pieces.take()
    if rest.data or rest.problem or state != "head":
        yield rest._replace(problem="the file ends within a row")


def _table(file: BinaryIO, path: Path, delimiter: str, limit: int) -> Iterator[Raw]:
    """CSV rows under their header, as JSON objects of texts."""
    csv.field_size_limit(limit)
    lines = _decoded(_lines(file, limit), path)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = next(reader, [])
    if len(set(header)) != len(header):
        raise DataError(f"{path}: two columns have one name; rename one")
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Raw(line, b"", f"is not valid CSV ({error})")
            continue
        data = json.dumps(dict(zip(header, cells, strict=False)), ensure_ascii=False).encode()
        wrong = f"has {len(cells)} cells under {len(header)} columns"
        if cells:
            yield Raw(line, data, "" if len(cells) == len(header) else wrong)


def _decoded(lines: Iterator[Raw], path: Path) -> Iterator[str]:
    for line in lines:
        if line.problem:
            raise DataError(f"{path}:{line.line}: {line.problem}")
        try:
            yield line.data.decode("utf-8") + "\n"
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{line.line}: is not UTF-8; save it as UTF-8") from error
