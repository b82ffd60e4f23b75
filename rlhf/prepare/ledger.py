"""What must be known of all rows at once: who is whose twin, and who is held out.

A row takes some tens of bytes here, so ten million fit in memory. Its text waits in an unnamed
temporary file, and so do the signatures by which near twins are found and what coverage counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlhf.data.duplicates import PERMUTATIONS, Signatures, groups
from rlhf.data.row_facts import FACTS, Facts
from rlhf.prepare.making import KINDS, ROW, Made
from rlhf.prepare.settings import Twins

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Rows(NamedTuple):
    """Rows that follow each other."""

    start: int
    """The place of the first."""
    lines: list[bytes]
    """Without their ends."""
    facts: Facts


class Spool:
    """Rows on their way: bytes in an unnamed file that goes when the process does."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives on
        self.size = 0

    def close(self) -> None:
        """The file goes."""
        self._file.close()

    def add(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self.size += len(data)

    def blocks(self, sizes: npt.NDArray[Any]) -> Iterator[bytes]:
        """What was added, in pieces of these sizes."""
        self._file.seek(0)
        for size in sizes.tolist():
            yield self._file.read(size)

    def read(self, offset: int, size: int) -> bytes:
        """One piece."""
        self._file.seek(offset)
        return self._file.read(size)

    def signatures(self) -> Signatures:
        """What was added as rows of signatures, paged in as they are used."""
        self._file.flush()
        shape = (self.size // (2 * PERMUTATIONS), PERMUTATIONS)
        if not self.size:
            return np.zeros(shape, np.uint16)
        return np.memmap(self._file, np.uint16, "r", shape=shape)


@dataclass(frozen=True)
class Fates:
    """What becomes of each row; `twin` is the first row that says the same, by its place."""

    twin: Ids
    exact: Mask
    near: Mask
    leaked: Mask
    """In `sources`, though its prompt is one of the held-out files'."""
    held: Mask
    by_prompt: Mask
    """Held out because its prompt is, and not by its conversation."""

    @property
    def kept(self) -> Mask:
        """Rows that go into one of the two files."""
        kept: Mask = ~(self.exact | self.near | self.leaked)
        return kept


class Ledger:
    """The facts of all rows, in their order."""

    def __init__(self, folder: Path) -> None:
        self.lines = Spool(folder)
        self._facts = Spool(folder)
        self._asked = Spool(folder)
        self._said = [Spool(folder) for _ in KINDS]
        self._parts: list[npt.NDArray[Any]] = []

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        for spool in (self.lines, self._facts, self._asked, *self._said):
            spool.close()

    def add(self, made: Made) -> None:
        """The next chunk's rows."""
        self.lines.add(made.lines)
        self._facts.add(made.facts.tobytes())
        self._parts.append(made.rows)
        if made.signatures is not None:
            asked, said = made.signatures
            self._asked.add(asked.tobytes())
            for kind, spool in enumerate(self._said):
                spool.add(said[made.rows["kind"] == kind].tobytes())

    @property
    def rows(self) -> npt.NDArray[Any]:
        """Of dtype `ROW`."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.zeros(0, ROW), *self._parts])]
        return self._parts[0]

    def blocks(self, count: int) -> Iterator[Rows]:
        """So many rows at a time."""
        starts = range(0, len(self.rows), count)
        sizes = np.add.reduceat(self.rows["size"], starts, dtype=np.int64)
        facts = self._facts.blocks(np.diff([*starts, len(self.rows)]) * FACTS.itemsize)
        for start, lines, told in zip(starts, self.lines.blocks(sizes), facts, strict=True):
            yield Rows(start, lines.split(b"\n")[:-1], np.frombuffer(told, FACTS))

    def fates(self, twins: Twins) -> Fates:
        """Which rows go, and which of the others are held out."""
        rows = self.rows
        itself = np.arange(len(rows))
        twin = _first(rows["key"]) if twins.exact else itself
        exact = twin != itself
        near = np.zeros(len(rows), dtype=bool)
        prompts = [rows["prompt"]]
        if twins.near:
            close = self._near(twins.similarity)
            near = ~exact & (close != itself)
            twin = np.where(near, close, twin)
            prompts.insert(0, groups(self._asked.signatures(), twins.similarity))
        leaked, held, by_prompt = _split(rows, prompts, ~(exact | near))
        return Fates(twin, exact, near, leaked, held, by_prompt)

    def _near(self, similarity: float) -> Ids:
        """For each row, the first of its kind that is nearly it."""
        twin = np.arange(len(self.rows))
        for kind, spool in enumerate(self._said):
            places = np.flatnonzero(self.rows["kind"] == kind)
            twin[places] = places[groups(spool.signatures(), similarity)]
        return twin


def _first(values: npt.NDArray[Any]) -> Ids:
    """For each row, the first that has its value."""
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    found: Ids = first[which]
    return found


def _split(
    rows: npt.NDArray[Any], prompts: Sequence[npt.NDArray[Any]], alive: Mask
) -> tuple[Mask, Mask, Mask]:
    """Leaked, held out, and held out by the prompt alone; each of `prompts` is a way to name them.

    The rule of `rlhf.data.records.split`: a prompt that is held out anywhere is so everywhere. What
    repeats a prompt of the held-out files goes altogether: they stay as they were given.
    """
    pinned = rows["pinned"] & alive
    leaked = alive & ~pinned & _asked_too(pinned, alive, prompts)
    by_conversation = rows["held"] & alive & ~leaked
    held = _asked_too(by_conversation, alive & ~leaked, prompts)
    return leaked, held, held & ~by_conversation


def _asked_too(some: Mask, among: Mask, prompts: Sequence[npt.NDArray[Any]]) -> Mask:
    """Rows among those given whose prompt, by any name, is one of `some`."""
    for names in prompts:
        some = among & np.isin(names, names[some])
    return some
