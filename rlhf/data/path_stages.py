"""Which stages of a dialogue's path a row holds: question, counter-question, confirmation, summary.

Marks in `path_stages.yaml` tell; they know nothing of what is meant, and cost some microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feedback_store.joined import Joined
from rlhf.config import load

STAGES: Final = ("question", "counter_question", "confirmation", "summary")

_ANSWERED = ("summary", "confirmation", "counter_question")
_MIX, _PLACES = 0x9E3B, (1 << 18) - 1  # two characters as one number

Languages = tuple[str, ...]

# A text in one language is not searched for the other's marks: half the work.
_LANGUAGES: dict[str, Languages] = {"zh": ("zh",), "en": ("en",)}
_SENTENCE_END = re.compile(r"[。！!？?\n]+|\.(?=\s)")
_SOMETHING = re.compile(r"\w")


def stages_of(row: Mapping[str, Any], *, silent: bool = False) -> frozenset[str]:
    """The stages that a row's turns and its answer (the chosen one of two) pass through.

    `silent` says that the answer is known to hold none.
    """
    found: set[str] = set()
    languages = _LANGUAGES.get(row.get("language", ""), ("zh", "en"))
    answered = False
    for message in row["prompt"]:
        if message["role"] == "user":
            _asked(message["content"], languages, answered, found)
        elif message["role"] == "assistant":
            _answered(message["content"], languages, found)
            answered = True
    if not silent and (answer := row.get("completion") or row.get("chosen")):
        _answered(answer, languages, found)
    return frozenset(found)


def silent_answers(answers: Joined) -> list[bool]:
    """Which of some Chinese answers hold no stage: most, so that they need not be searched."""
    begun = _begun().take((answers.codes[:-1] * _MIX + answers.codes[1:]) & _PLACES)
    asks = answers.codes == ord("?")
    asks |= answers.codes == ord("？")
    found = answers.with_any(asks)
    mark = _any_mark(("zh",))
    marked = [at for at in np.flatnonzero(begun).tolist() if mark.match(answers.text, at)]
    found[np.searchsorted(answers.ends, marked)] = True
    return [not some for some in found.tolist()]


def turns_of(row: Mapping[str, Any]) -> int:
    """How often the user speaks."""
    return sum(message["role"] == "user" for message in row["prompt"])


def _asked(text: str, languages: Languages, answered: bool, found: set[str]) -> None:
    if "question" not in found and (
        "?" in text or "？" in text or _has("question", text.lower(), languages)
    ):
        found.add("question")
    if answered and "confirmation" not in found:
        start = text[:40].lstrip(" ,，。“\"'").lower()
        if any(_marks("agreement", language).match(start) for language in languages):
            found.add("confirmation")


def _answered(text: str, languages: Languages, found: set[str]) -> None:
    lower = text.lower()
    asks = "?" in text or "？" in text
    if not asks and not _any_mark(languages).search(lower):
        return
    for stage in ("summary", "confirmation"):
        if stage not in found and _has(stage, lower, languages):
            found.add(stage)
    if "counter_question" not in found and (
        (asks and _asks_back(text, languages)) or _has("counter_question", lower, languages)
    ):
        found.add("counter_question")


def _asks_back(text: str, languages: Languages) -> bool:
    """A question to the user: one that addresses them, or that the turn ends with.

    Why then does it hurt? Because ...: a question that the answer itself goes on to answer is none,
    and "Is that right?" confirms.
    """
    for asked, last in _questions(text):
        lower = asked.lower()
        if (last or _has("addressed", lower, languages)) and not _has(
            "confirmation", lower, languages
        ):
            return True
    return False


def _questions(text: str) -> Iterator[tuple[str, bool]]:
    """The sentences with a question mark, and whether nothing comes after."""
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if "?" in end[0] or "？" in end[0]:
            yield text[start : end.end()], not _SOMETHING.search(text, end.end())
        start = end.end()


def _has(name: str, lower: str, languages: Languages) -> bool:
    return any(_marks(name, language).search(lower) for language in languages)


@cache
def _marks(name: str, language: str) -> re.Pattern[str]:
    return _any_of(_lexicon()[name][language], language)


@cache
def _any_mark(languages: Languages) -> re.Pattern[str]:
    """What a turn of the assistant's has that holds a stage and no question mark."""
    patterns = (_marks(stage, language).pattern for language in languages for stage in _ANSWERED)
    return re.compile("|".join(patterns))


def _any_of(marks: list[str], language: str) -> re.Pattern[str]:
    either = "|".join(marks)
    return re.compile(rf"\b(?:{either})" if language == "en" else either)


@cache
def _begun() -> NDArray[np.bool_]:
    """By a number of two characters, whether a Chinese mark of an answer could begin with them.

    Where a bracket comes second, it could be any character of the alternative.
    """
    table = np.zeros(_PLACES + 1, np.bool_)
    for alternative in (a for stage in _ANSWERED for a in _alternatives(_lexicon()[stage]["zh"])):
        for second in re.findall("^[一-鿿]", alternative[1:]) or re.findall("[一-鿿]", alternative):
            table[(ord(alternative[0]) * _MIX + ord(second)) & _PLACES] = True
    return table


def _alternatives(marks: list[str]) -> list[str]:
    """Those that stand in no bracket."""
    return [a for mark in marks for a in re.findall(r"(?:\((?:[^()]|\([^()]*\))*\)|[^|()])+", mark)]


@cache
def _lexicon() -> dict[str, dict[str, list[str]]]:
    lexicon: dict[str, dict[str, list[str]]] = load(Path(__file__).with_name("path_stages.yaml"))
    return lexicon
