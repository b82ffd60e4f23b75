"""Rows of whatever people have, as bytes of JSON in chunks, each known by its file and line.

JSON, JSON lines, CSV and TSV are read by `raw_rows`, Parquet by row groups, a data set of the hub
by streaming. No more than a chunk is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rlhf.data.raw_rows import MAX_ROW_BYTES, open_rows
from rlhf.data.scanner import Raw
from rlhf.data.tables import hub_rows, parquet_rows
from rlhf.errors import DataError, UsageError

TEXT = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
TABLE = (".parquet", ".pq")
HUB = "hub:"

CHUNK_ROWS, CHUNK_BYTES = 2_000, 1 << 20


class Chunk(NamedTuple):
    """Rows that stand one after the other in one file."""

    source: str
    """The file's name, as rows are told by."""
    rows: list[tuple[int, bytes, str]]
    """Line, JSON and, where the row cannot be read, why."""
    done: int
    """How many bytes of all sources are read by now."""


class SourceFile(NamedTuple):
    """A file to read, and the name that its rows are told by."""

    path: Path
    name: str


def source_files(source: Path) -> list[SourceFile]:
    """A file, or all files of a folder that hold rows, in the order of their names."""
    if source.is_file():
        return [SourceFile(source, source.name)]
    if not source.is_dir():
        raise UsageError(f"{source}: no such file or folder; check the path")
    known = TEXT + TABLE
    found = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in known and not any(p[0] == "." for p in path.parts[-2:])
    )
    if not found:
        raise UsageError(f"{source}: holds no file that ends in {', '.join(known)}")
    return [SourceFile(path, path.relative_to(source).as_posix()) for path in found]


def chunks(files: Iterable[SourceFile], limit: int = MAX_ROW_BYTES) -> Iterator[Chunk]:
    """All rows of the files; raises `DataError` for a file that is no such file at all."""
    before = 0
    for file in files:
        try:
            yield from _file_chunks(file, limit, before)
            before += file.path.stat().st_size
        except OSError as error:
            raise DataError(f"{file.path}: cannot be read ({error.strerror or error})") from error


def hub_chunks(source: str, limit: int = MAX_ROW_BYTES) -> Iterator[Chunk]:
    """All rows of `hub:<owner>/<name>`; its lines are the rows' places, from 1."""
    name = source.removeprefix(HUB)
    yield from _chunked(hub_rows(name, limit), name, lambda: 0)


def _file_chunks(file: SourceFile, limit: int, before: int) -> Iterator[Chunk]:
    size = file.path.stat().st_size
    if size == 0:
        raise DataError(f"{file.path}: is empty; take it out of the sources")
    if file.path.suffix.lower() in TABLE:
        yield from _chunked(parquet_rows(file.path, limit), file.name, lambda: before + size)
        return
    with file.path.open("rb") as opened:
        rows = open_rows(opened, file.path, limit).rows
        yield from _chunked(rows, file.name, lambda: before + opened.tell())


def _chunked(rows: Iterator[Raw], name: str, position: Callable[[], int]) -> Iterator[Chunk]:
    held: list[tuple[int, bytes, str]] = []
    size = 0
    for raw in rows:
        held.append((raw.line, raw.data, raw.problem))
        size += len(raw.data)
        if len(held) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield Chunk(name, held, position())
            held, size = [], 0
    if held:
        yield Chunk(name, held, position())
