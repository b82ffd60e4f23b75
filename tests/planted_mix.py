"""Ten rewards whose scores are written in the answers, and voters whose mix of them is known."""

from __future__ import annotations

import numpy as np

from rewards import Component, reward
from rlhf.data.records import Record

NAMES = tuple(f"planted_{letter}" for letter in "abcdefghij")
TRUTH = np.array([1.0, -0.8, 0.6, 0.5, 0, 0, 0, 0, 0, 0])


def register() -> None:
    """Make the ten known by their names."""
    for place, name in enumerate(NAMES):
        _register(place, name)


def _register(place: int, name: str) -> None:
    @reward(name)
    def planted(prompts, completions, *, place: int = place, **columns):  # type: ignore[no-untyped-def]
        """The number in its place."""
        return [float(c[0]["content"].split()[place]) for c in completions]


COMPONENTS = [Component(name=name) for name in NAMES]


def _text(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.4f}" for number in numbers)


def _record(shape: str, prompt: int, **fields: object) -> Record:
    asked = ({"role": "user", "content": f"question {prompt}"},)
    return Record(shape, asked, conversation=f"c{prompt}", **fields)  # type: ignore[arg-type]


def pairs(seed: int, count: int = 2000, noise: float = 0.2) -> list[Record]:
    """Votes for the better answer by the true mix, of which a share `noise` is turned round."""
    draw = np.random.default_rng(seed)
    first, second = draw.normal(size=(2, count, len(NAMES)))
    wins = ((first - second) @ TRUTH > 0) ^ (draw.random(count) < noise)
    return [
        _record("preference", i, chosen=_text(a if w else b), rejected=_text(b if w else a))
        for i, (a, b, w) in enumerate(zip(first, second, wins, strict=True))
    ]


def thumbs(seed: int, count: int = 2000, noise: float = 0.2) -> list[Record]:
    """Up where the true mix is above a bar, of which a share `noise` is turned round."""
    draw = np.random.default_rng(seed)
    answers = draw.normal(size=(count, len(NAMES)))
    up = (answers @ TRUTH > 0.7) ^ (draw.random(count) < noise)
    return [
        _record("unpaired", i, completion=_text(a), label=bool(u))
        for i, (a, u) in enumerate(zip(answers, up, strict=True))
    ]
