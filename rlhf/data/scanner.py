"""Rows out of JSON that isn't one row a line, by brackets alone, without holding the document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

BLOCK = 1 << 16


class Raw(NamedTuple):
    """A row's bytes as JSON and the line that it begins on; with a problem, it can't be read.

    `inner` marks one that stood in a document's list of rows.
    """

    line: int
    data: bytes
    problem: str = ""
    inner: bool = False


def too_long(limit: int) -> str:
    return f"is longer than {limit} bytes (max-row-bytes)"


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
        return Raw(line, b"", too_long(self.limit)) if long else Raw(line, data.rstrip())


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
    while block := file.read(BLOCK):
        begin = 0
        for place, byte in _marks(block, quoted, escaped):
            if place < 0:
                quoted, escaped = bool(byte & 1), bool(byte & 2)
            else:
                yield block[begin : place + 1], byte
                begin = place + 1
        yield block[begin:], 0


def array_rows(file: BinaryIO, limit: int) -> Iterator[Raw]:
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


def value_rows(file: BinaryIO, limit: int) -> Iterator[Raw]:
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


def opening(within: Sequence[str]) -> re.Pattern[bytes]:
    """How a document begins whose first keys lead to its rows."""
    keys = (rb'\s*\{\s*"%b"\s*:' % re.escape(key).encode() for key in within)
    return re.compile(b"".join(keys) + rb"\s*\[")


def page_rows(file: BinaryIO, limit: int, within: Sequence[str]) -> Iterator[Raw]:
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
            state = "list" if opening(within).fullmatch(pieces.held()) else "whole"
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
