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
    """The lines of one half; those of the first fresh set were tuned on afterwards."""
    rows = [row for row in _read("utterances") if half_of(row.text) == half]
    return rows + _read("utterances_more") if half == "tuning" else rows


def fresh_utterances() -> list[Utterance]:
    """Written last, on matters and in words of their own; never tuned on."""
    return _read("utterances_fresh")


def _read(name: str) -> list[Utterance]:
    text = Path(__file__).with_name(f"{name}.jsonl").read_text(encoding="utf-8")
    return [Utterance(**json.loads(line)) for line in text.splitlines()]
