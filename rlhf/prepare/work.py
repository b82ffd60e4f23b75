"""What a worker process does: make a chunk's rows, later fill in the intents that they lack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from rlhf.data.labels import IntentClassifier, with_intents
from rlhf.data.reading import Chunk
from rlhf.data.row_facts import row_facts
from rlhf.prepare.ledger import Rows
from rlhf.prepare.lines import encode
from rlhf.prepare.making import Made, Maker
from rlhf.prepare.settings import PrepareConfig


class Unlabelled(NamedTuple):
    """Rows, and what fills in their intents."""

    rows: Rows
    classifier: IntentClassifier


@dataclass
class _Worker:
    """What a process was begun with."""

    config: PrepareConfig
    maker: Maker


_here: list[_Worker] = []


def begin(config: PrepareConfig) -> None:
    """Once in each process."""
    _here[:] = [_Worker(config, Maker(config))]


def make(task: tuple[Chunk, bool]) -> Made:
    """The rows of a chunk."""
    return _here[0].maker.make(*task)


def fill_in(block: Unlabelled) -> Rows:
    """The rows with the classifier's intents where they have none and it is sure."""
    config = _here[0].config
    rows = [json.loads(line) for line in block.rows.lines]
    filled = with_intents(rows, block.classifier, config.labels)
    lines, facts = list(block.rows.lines), block.rows.facts.copy()
    changed = [at for at, row in enumerate(filled) if "intent_by" in row]
    for at in changed:
        lines[at] = encode(filled[at])[:-1]
    facts[changed] = row_facts([filled[at] for at in changed], config.seed)
    return Rows(block.rows.start, lines, facts)
