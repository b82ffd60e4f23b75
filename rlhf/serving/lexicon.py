"""The words that `auto` style goes by: `auto_style.yaml`, with a user's own file beside it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from rlhf.config import Settings, load, validate
from rlhf.errors import UsageError
from rlhf.serving.phrases import Phrases

BUILT_IN: Final = Path(__file__).with_name("auto_style.yaml")

Intent = Literal[
    "emergency", "complaint", "health", "professional", "how-to", "support", "small talk"
]
Mood = Literal["calm", "frustrated", "anxious", "sad", "cheerful", "urgent"]
Style = Literal["formal", "concise", "caring", "formal+caring", "concise+caring"]
Signal = Literal[
    "frustrated", "anxious", "sad", "cheerful", "urgent",
    "emergency", "complaint", "health", "self", "professional", "academic", "service", "life",
    "asks", "addressed", "chat", "brief", "detailed",
]  # fmt: skip
Weight = Annotated[float, Field(gt=0, le=10)]
Row = Mapping[Mood | Literal["other"], Style | None]


class LexiconFile(Settings):
    """What a file of words holds; the built-in one explains the keys."""

    styles: dict[Intent, dict[Mood | Literal["other"], Style | None]] = Field(default={})
    """The style of an intent in a mood; `other` is every mood that isn't named."""
    words: dict[Signal, dict[Weight, tuple[str, ...]]] = Field(default={})
    """Phrases by the signal that they speak for, and by their weight."""


@dataclass(frozen=True)
class Lexicon:
    """Words and the table, ready to be matched."""

    phrases: tuple[Phrases, ...]
    styles: Mapping[Intent, Row]


def read_lexicon(extra: Path | None = None) -> Lexicon:
    """The built-in words, with a user's own; read again when their file changes.

    Raises `UsageError` for a file that can't be used.
    """
    if extra is None:
        return _built_in()
    try:
        changed = extra.stat().st_mtime_ns
    except OSError as error:
        raise UsageError(f"{extra}: cannot be read ({error.strerror}); check the path") from error
    return _with(extra, changed)


@lru_cache(maxsize=1)
def _built_in() -> Lexicon:
    return _lexicon(BUILT_IN, {})


@lru_cache(maxsize=8)
def _with(extra: Path, _changed: int) -> Lexicon:
    own = _lexicon(extra, _built_in().styles)
    return Lexicon((*_built_in().phrases, *own.phrases), own.styles)


def _lexicon(path: Path, below: Mapping[Intent, Row]) -> Lexicon:
    file = validate(LexiconFile, load(path), str(path))
    styles = {k: ChainMap(dict(row), dict(below.get(k, {}))) for k, row in file.styles.items()}
    try:
        phrases = Phrases(
            (signal, weight, phrase)
            for signal, by_weight in file.words.items()
            for weight, some in by_weight.items()
            for phrase in some
        )
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    return Lexicon((phrases,), {**below, **styles})
