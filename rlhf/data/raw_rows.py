"""Rows from a file of any size, one at a time: JSON lines, a JSON array, JSON values, or CSV.

No more than one row is held, and none longer than the limit: what is longer is passed over and
told. A row is known by the line that it begins on. Reading is by bytes, so that a row which is not
UTF-8 is refused alone.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rlhf.data.scanner import BLOCK, Raw, array_rows, opening, page_rows, too_long, value_rows
from rlhf.errors import DataError

MAX_ROW_BYTES = 16 << 20
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
    head = file.read(BLOCK)
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
        return array_rows(file, limit)
    if within and suffix not in (".jsonl", ".ndjson") and opening(within).match(begin):
        return page_rows(file, limit, within)
    first = begin.partition(b"\n")[0].rstrip()
    by_line = suffix in (".jsonl", ".ndjson") or first.endswith(b"}") or len(first) == len(begin)
    if begin.startswith(b"{") and not by_line:
        return value_rows(file, limit)
    return (raw for raw in _lines(file, limit) if raw.problem or raw.data)


def _lines(file: BinaryIO, limit: int) -> Iterator[Raw]:
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) > limit and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(BLOCK)
            yield Raw(number, b"", too_long(limit))
        else:
            yield Raw(number, line.strip())


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
