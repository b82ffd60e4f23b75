"""What a worker process does: make a chunk's rows, later write those that stay."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlhf.data.coverage import Coverage
from rlhf.data.reading import Chunk
from rlhf.prepare.making import Made, Maker
from rlhf.prepare.settings import PrepareConfig

GONE, TRAIN, HELD_OUT = range(3)


class Block(NamedTuple):
    """Rows of the spool, and where each goes."""

    lines: bytes
    places: npt.NDArray[np.uint8]


class Finished(NamedTuple):
    """Lines of both files, and what they cover."""

    train: bytes
    held_out: bytes
    coverage: Coverage


_makers: list[Maker] = []
_seed = [0]


def begin(config: PrepareConfig) -> None:
    """Once in each process."""
    _makers[:] = [Maker(config)]
    _seed[:] = [config.seed]


def make(task: tuple[Chunk, bool]) -> Made:
    """The rows of a chunk."""
    return _makers[0].make(*task)


def finish_rows(block: Block) -> Finished:
    """The rows that stay."""
    coverage = Coverage(_seed[0])
    written: dict[int, list[bytes]] = {TRAIN: [], HELD_OUT: []}
    for line, place in zip(block.lines.splitlines(True), block.places.tolist(), strict=True):
        if place != GONE:
            coverage.add(json.loads(line))
            written[place].append(line)
    return Finished(b"".join(written[TRAIN]), b"".join(written[HELD_OUT]), coverage)
