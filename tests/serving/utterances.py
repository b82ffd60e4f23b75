"""The labelled utterances beside this file; `utterances.md` says how they were labelled."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

Half = Literal["tuning", "unseen"]


class Utterance(NamedTuple):
    text: str
    style: str | None


def half_of(text: str) -> Half:
    """Which half a text belongs to, whatever stands around it in the file."""
    return "unseen" if sha256(text.encode()).digest()[0] % 2 else "tuning"


def utterances(half: Half) -> list[Utterance]:
    """The lines of one half."""
    lines = Path(__file__).with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    rows = [Utterance(**json.loads(line)) for line in lines]
    return [row for row in rows if half_of(row.text) == half]
