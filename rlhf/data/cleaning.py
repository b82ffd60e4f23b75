"""Texts made clean: markup, invisible characters, odd spaces, doubled marks, empty formulae out.

A `Cleaner` puts the steps of its rules in a row. Most texts need none of them, so many are asked at
once whether there is anything to do; cleaning a clean text changes nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex
from pydantic import Field, model_validator

from feedback_store.joined import Joined
from rlhf.config import Settings
from rlhf.data.boilerplate import Boilerplate, boilerplate
from rlhf.data.characters import collapse_spaces, drop_invisible, narrow, single_marks
from rlhf.data.markup import strip_markup
from rlhf.data.simplified import to_simplified
from rlhf.data.unclean import unclean
from rlhf.errors import DataError

Step = Callable[[str], str]

_LONGEST_PATTERN = 1000
_PATIENCE_S = 0.5
# Texts on which a pattern that backtracks without end shows it: nothing here is longer than what
# a user writes, and a pattern in order takes microseconds.
_PROBES = tuple(
    unit * 2000 + end for unit in ("a", "1", " ", "中", "a ", "a.", "<") for end in "!\n"
)
# What one step bares another may clean ("&lt;b&gt;"); after these many rounds a text is let be.
_ROUNDS = 6


class Rule(Settings):
    """A regular expression of the user's, and what stands in place of what it finds."""

    pattern: str = Field(min_length=1, max_length=_LONGEST_PATTERN)
    """As of the `regex` module: Python's `re` and more."""
    replace: str = Field(default="", max_length=_LONGEST_PATTERN)
    r"""May name groups of the pattern: `\1`, `\g<name>`."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Rule:
        """Refused are patterns that don't compile, don't end, or never come to rest."""
        try:
            compiled = regex.compile(self.pattern)
            for probe in (*_PROBES, self.pattern):
                compiled.sub(self.replace, probe, timeout=_PATIENCE_S)
            written = compiled.sub(self.replace, self.replace, timeout=_PATIENCE_S)
        except (regex.error, IndexError) as error:
            raise ValueError(f"{self.pattern!r} is no regular expression: {error}") from error
        except TimeoutError as error:
            raise ValueError(
                f"{self.pattern!r} takes too long on a text of 2,000 characters; "
                "avoid a repeat inside a repeat, as in (a+)+"
            ) from error
        if written != self.replace and "\\" not in self.replace:
            raise ValueError(
                f"{self.pattern!r} finds its own replacement {self.replace!r} and would change it "
                "each time"
            )
        return self


class CleaningRules(Settings):
    """What is cleaned out of the texts of a dialogue."""

    markup: bool = True
    """HTML tags, comments and entities; `<PHONE>` and "a < b" stay."""
    invisible: bool = True
    """Control, zero-width and direction characters."""
    unicode: bool = True
    """Composed characters (NFC), full-width letters and digits as ASCII; Chinese marks stay."""
    marks: bool = True
    """Marks said once: `！！！！` becomes `！`."""
    spaces: bool = True
    """One space between words, one empty line between paragraphs; indented lines stay so."""
    boilerplate: bool = True
    """Greetings, closing formulae and signatures that say nothing; a text is never emptied."""
    phrases: Path | None = None
    """A YAML file of more such phrases, in the form of rlhf/data/boilerplate.yaml."""
    simplified: bool = False
    """Traditional Chinese characters become simplified ones."""
    rules: tuple[Rule, ...] = ()
    """Regular expressions of your own, applied in turn, before the steps above look again."""


class Begun(NamedTuple):
    """A text of many, by its place, whose cleaning has begun."""

    at: int
    text: str
    rounds: int
    """Are left."""


class Cleaner:
    """Cleans texts by rules.

    It raises `DataError` for a text on which a user's rule takes too long.

    >>> Cleaner(CleaningRules())("您好，很高兴为您服务！<b>ＡＢＣ</b>&nbsp;可以服用！！！！")
    'ABC 可以服用！'
    """

    def __init__(self, rules: CleaningRules) -> None:
        self._boilerplate = boilerplate(rules.phrases) if rules.boilerplate else None
        self._steps = _steps(rules, self._boilerplate)
        self._any_text = bool(rules.rules) or rules.simplified

    def __call__(self, text: str) -> str:
        """One text."""
        return self.finished(text, _ROUNDS)

    def finished(self, text: str, rounds: int) -> str:
        """A text for which so many rounds are left."""
        for _ in range(rounds):
            before = text
            for step in self._steps:
                text = step(text)
            if text == before:
                break
        return text

    def begun(self, texts: Sequence[str]) -> Iterator[Begun]:
        """The texts that don't stay as they are."""
        if self._any_text:
            yield from (Begun(at, text, _ROUNDS) for at, text in enumerate(texts))
            return
        joined = Joined(texts)
        found = unclean(joined)
        yield from (Begun(at, texts[at], _ROUNDS) for at in np.flatnonzero(found).tolist())
        if self._boilerplate:
            for at in np.flatnonzero(self._boilerplate.within(joined) & ~found).tolist():
                # All other steps of its first round would change nothing.
                if (cut := self._boilerplate.cut(texts[at])) != texts[at]:
                    yield Begun(at, cut, _ROUNDS - 1)


def _steps(rules: CleaningRules, phrases: Boilerplate | None) -> list[Step]:
    """In an order in which a later step seldom bares work for an earlier one."""
    steps: list[Step] = []
    if rules.unicode:
        steps += [_composed, narrow]
    if rules.markup:
        steps.append(strip_markup)
    if rules.invisible:
        steps.append(drop_invisible)
    steps += [_applied(rule) for rule in rules.rules]
    if rules.simplified:
        steps.append(to_simplified)
    if rules.marks:
        steps.append(single_marks)
    if rules.spaces:
        steps.append(collapse_spaces)
    if phrases:
        steps.append(phrases.cut)
    return steps


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _applied(rule: Rule) -> Step:
    compiled = regex.compile(rule.pattern)

    def apply(text: str) -> str:
        try:
            replaced: str = compiled.sub(rule.replace, text, timeout=_PATIENCE_S)
        except TimeoutError as error:
            raise DataError(
                f"the rule {rule.pattern!r} takes too long on a text of {len(text)} characters"
            ) from error
        return replaced

    return apply
