"""What a worker process does: make a chunk's rows, later write those that stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlhf.data.coverage import Coverage
from rlhf.data.labels import IntentClassifier, with_intents
from rlhf.data.reading import Chunk
from rlhf.prepare.making import Made, Maker, encode
from rlhf.prepare.settings import PrepareConfig

GONE, TRAIN, HELD_OUT = range(3)


class Block(NamedTuple):
    """Rows of the spool, and where each goes."""

    lines: bytes
    places: npt.NDArray[np.uint8]
    classifier: IntentClassifier | None
    """What fills in intents, if something does."""


class Finished(NamedTuple):
    """Lines of both files, and what they cover."""

    train: bytes
    held_out: bytes
    coverage: Coverage


@dataclass
class _Worker:
    """What a process was begun with."""

    config: PrepareConfig
    maker: Maker


_here: list[_Worker] = []
_decode = json.JSONDecoder().raw_decode  # what was encoded here


def begin(config: PrepareConfig) -> None:
    """Once in each process."""
    _here[:] = [_Worker(config, Maker(config))]


def make(task: tuple[Chunk, bool]) -> Made:
    """The rows of a chunk."""
    return _here[0].maker.make(*task)


def finish_rows(block: Block) -> Finished:
    """The rows that stay."""
    config = _here[0].config
    coverage = Coverage(config.seed)
    written: dict[int, list[bytes]] = {TRAIN: [], HELD_OUT: []}
    for row, line, place in _staying(block, config):
        coverage.add(row)
        written[place].append(line)
    return Finished(b"".join(written[TRAIN]), b"".join(written[HELD_OUT]), coverage)


def _staying(block: Block, config: PrepareConfig) -> Iterator[tuple[dict[str, Any], bytes, int]]:
    lines = block.lines.split(b"\n")[:-1]
    places = block.places.tolist()
    stay = [(line, place) for line, place in zip(lines, places, strict=True) if place != GONE]
    rows = [_decode(line.decode())[0] for line, _ in stay]
    if block.classifier is not None:
        rows = with_intents(rows, block.classifier, config.labels)
    for row, (line, place) in zip(rows, stay, strict=True):
        yield row, encode(row) if "intent_by" in row else line + b"\n", place
