"""Rewards on answers made of letters, good ones and all the ways to fail."""

from __future__ import annotations

import time
from typing import Any

Turns = list[list[dict[str, str]]]


def _texts(completions: Turns) -> list[str]:
    return [completion[-1]["content"] for completion in completions]


def share_of_a(prompts: Any, completions: Turns) -> list[float]:
    """How many of six letters are an a."""
    return [text.count("a") / 6 for text in _texts(completions)]


def first_is_a(prompts: Any, completions: Turns) -> list[float]:
    """A bandit: one letter pays, another pays a little."""
    return [{"a": 1.0, "b": 0.3}.get(text[:1], 0.0) for text in _texts(completions)]


def how_long(prompts: Any, completions: Turns) -> list[float]:
    """What a policy can feed without saying anything."""
    return [float(len(text)) for text in _texts(completions)]


def stuck_on_half(prompts: Any, completions: Turns) -> list[float]:
    """A scorer that answers every second request with its default."""
    scores = [hash_of(text) for text in _texts(completions)]
    return [0.5 if i % 2 else score for i, score in enumerate(scores)]


def hash_of(text: str) -> float:
    """A number for a text, nearly always one of its own."""
    return sum((i + 1) * ord(c) ** 2 for i, c in enumerate(text)) % 9973 / 9973


def raises(prompts: Any, completions: Turns) -> list[float]:
    raise ZeroDivisionError("never mind")


def hangs(prompts: Any, completions: Turns) -> list[float]:
    time.sleep(600)
    return []


def returns_nan(prompts: Any, completions: Turns) -> list[float]:
    return [float("nan")] * len(completions)


def returns_infinity(prompts: Any, completions: Turns) -> list[float]:
    return [float("inf")] * len(completions)


def returns_none(prompts: Any, completions: Turns) -> list[None]:
    return [None] * len(completions)


def returns_texts(prompts: Any, completions: Turns) -> list[str]:
    return ["1.0"] * len(completions)


def returns_too_few(prompts: Any, completions: Turns) -> list[float]:
    return [1.0] * (len(completions) - 1)


def fails_on_some(prompts: Any, completions: Turns) -> list[float | None]:
    """NaN for one answer in twelve."""
    scores = [text.count("a") / 6 for text in _texts(completions)]
    return [float("nan") if i % 12 == 5 else score for i, score in enumerate(scores)]
