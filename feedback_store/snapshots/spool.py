"""Records put aside on disk by partition: added in any order, read back a partition at a time.

The file has no name, so it leaves nothing behind however the process ends. What fits in the buffer
never gets there.
"""

import marshal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from feedback_store.errors import Unavailable

BUFFER = 32 * 2**20


class Spool:
    """Plain tuples (of numbers, texts, bytes and None) in numbered partitions."""

    def __init__(self, folder: Path, partitions: int, buffer: int | None = None) -> None:
        """`buffer`: how many bytes, by the sizes that `add` is told, are held in memory."""
        self._folder = folder
        self._buffer = BUFFER if buffer is None else buffer
        self._held = 0
        self._waiting: list[list[tuple[Any, ...]]] = [[] for _ in range(partitions)]
        self._blocks: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, partition: int, record: tuple[Any, ...], size: int) -> None:
        """Append a record of about so many bytes."""
        self._waiting[partition].append(record)
        self._held += size
        if self._held >= self._buffer:
            self._flush()

    def take(self, partition: int) -> Iterator[tuple[Any, ...]]:
        """A partition's records in the order in which they were added; they can be read once."""
        blocks, self._blocks[partition] = self._blocks[partition], []
        waiting, self._waiting[partition] = self._waiting[partition], []
        for start, length in blocks:
            yield from marshal.loads(self._read(start, length))
        yield from waiting

    def _flush(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            at = self._file.seek(0, 2)
            for blocks, waiting in zip(self._blocks, self._waiting, strict=True):
                if waiting:
                    data = marshal.dumps(waiting)
                    self._file.write(data)
                    blocks.append((at, len(data)))
                    at += len(data)
                    waiting.clear()
        except OSError as error:
            raise Unavailable(f"{self._folder}: can't be written ({error.strerror})") from error
        self._held = 0

    def _read(self, start: int, length: int) -> bytes:
        assert self._file is not None
        try:
            self._file.seek(start)
            return self._file.read(length)
        except OSError as error:
            raise Unavailable(f"{self._folder}: can't be read ({error.strerror})") from error
