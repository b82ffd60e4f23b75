"""What the coverage of a set wants to know of each row, as numbers of a fixed size.

They are taken where a row is made, and counted once it is known which rows stay, so that no row is
read again but those that are drawn or told in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback_store.joined import Joined
from rlhf.data.counts import DIGEST, digest, short_key
from rlhf.data.path_stages import STAGES, silent_answers, stages_of, turns_of
from rlhf.data.row_sample import RANK, ranks

Row = Mapping[str, Any]
Facts = NDArray[Any]

FACTS = np.dtype(
    [
        ("traits", "<u2"),  # see `traits`
        ("prompt", "<u4"),  # characters
        ("answer", "<u4"),
        ("rank", RANK),
        ("prompts", DIGEST),
        ("cells", DIGEST),
        ("users", DIGEST),
    ]
)

_SHAPES = ("dialogue", "preference", "judged")
_LANGUAGES = ("other", "zh", "en", "mixed")
_LABELS = ("user", "intent", "style", "intent_by")
_NUMBERS = ("traits", "prompt", "answer")
_MOST_TURNS = 8
_LANGUAGE_BITS = {language: at << 2 for at, language in enumerate(_LANGUAGES)}
_STAGE_BITS = {stage: 1 << 8 + at for at, stage in enumerate(STAGES)}
_LABEL_BITS = [(label, 1 << 12 + at) for at, label in enumerate(_LABELS)]
_often = lru_cache(10_000)(digest)


class Said(NamedTuple):
    """A row's texts, and the keys that it is counted by."""

    asked: str
    answer: str
    prompt: str
    cell: str
    user: str

    @classmethod
    def of(cls, row: Row) -> Said:
        """All that was asked, and the answer: of two the chosen one."""
        asked = "\n".join([m["content"] for m in row["prompt"] if m["role"] != "system"]).strip()
        answer = row.get("completion") or row.get("chosen") or ""
        cell = _cell(row.get("intent"), row.get("style"))
        user = row.get("user")
        return cls(asked, answer, short_key(asked), cell, short_key(user) if user else "")


def row_facts(rows: Sequence[Row], seed: int) -> Facts:
    """Of dtype `FACTS`; `seed` is of the sample."""
    facts = np.zeros(len(rows), FACTS)
    said = [Said.of(row) for row in rows]
    ranked = ranks(seed)
    columns: dict[str, list[Any]] = {
        "traits": _traits(rows, said),
        "prompt": [len(each.asked) for each in said],
        "answer": [len(each.answer) for each in said],
        "rank": [
            ranked(f"{row.get('source', '')}\0{each.asked}\0{each.answer}")
            for row, each in zip(rows, said, strict=True)
        ],
        "prompts": [digest(each.prompt) for each in said],
        "cells": [_often(each.cell) for each in said],
        "users": [_often(each.user) for each in said],
    }
    for name, values in columns.items():
        facts[name] = values if name in _NUMBERS else np.frombuffer(b"".join(values), FACTS[name])
    return facts


def has_user(facts: Facts) -> NDArray[np.bool_]:
    """Which rows say who asked."""
    found: NDArray[np.bool_] = facts["traits"] & _LABEL_BITS[0][1] > 0
    return found


def traits(number: int) -> Iterator[tuple[str, str]]:
    """What a number of `traits` stands for: each tally, and what counts in it."""
    yield "shape", _SHAPES[number & 3]
    yield "language", _LANGUAGES[number >> 2 & 3]
    turns = number >> 4 & 15
    yield "turns", str(turns) if turns < _MOST_TURNS else f"{_MOST_TURNS}+"
    yield from (("stage", stage) for stage, bit in _STAGE_BITS.items() if number & bit)
    yield from (("label", label) for label, bit in _LABEL_BITS if number & bit)


def _traits(rows: Sequence[Row], said: Sequence[Said]) -> list[int]:
    chinese = [row.get("language") == "zh" for row in rows]
    silent = iter(silent_answers(Joined([s.answer for s in compress(said, chinese)])))
    return [_number(row, zh and next(silent)) for row, zh in zip(rows, chinese, strict=True)]


def _number(row: Row, silent: bool) -> int:
    shape = 1 if "chosen" in row else 2 if "label" in row else 0
    number = shape | _LANGUAGE_BITS.get(row.get("language", ""), 0)
    number |= min(turns_of(row), _MOST_TURNS) << 4
    for stage in row["stages"] if "stages" in row else stages_of(row, silent=silent):
        number |= _STAGE_BITS[stage]
    for label, bit in _LABEL_BITS:
        if row.get(label):
            number |= bit
    return number


@lru_cache(10_000)
def _cell(intent: str | None, style: str | None) -> str:
    named = ((label or "").replace("\x1f", " ")[:80] for label in (intent, style))
    return "\x1f".join(named)
