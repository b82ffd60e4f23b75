"""`format`: is an answer in the form that was asked for, and in the language of the question?

What is asked for is read from the column `format`, else the parameter `wants`, else the prompt
itself ("请分点列出", "as JSON").
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any, NoReturn

from rewards.errors import BadParameter, nearest
from rewards.registry import reward
from rewards.texts.lexicon import fold, read_lexicon
from rewards.texts.prose import chinese_share, last_user_text, prose
from rewards.texts.text import Turn, completion_text

_WORDS = read_lexicon(__file__)
_ASKED = {name: re.compile("|".join(ps), re.I) for name, ps in _WORDS["asked"].items()}
_OTHER_LANGUAGE = re.compile("|".join(_WORDS["languages"]), re.I)

_ITEM = re.compile(
    r"(?m)^[ \t]*(?:[-*•·]|\d{1,3}[.)、．]|[（(]\d{1,3}[)）]|[一二三四五六七八九十]{1,3}、)"
    r"[ \t]*(\S.*)$"
)
_HEADING = re.compile(r"(?m)^#{1,6}[ \t]+\S.*$")
_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*\Z", re.DOTALL | re.IGNORECASE)
_MARKDOWN = re.compile(r"(?m)^[ \t]*(?:#{1,6}[ \t]|[-*+][ \t]|>[ \t]|```|\|.*\|)|\*\*|__|`|\]\(")
_PARAGRAPH = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_MARKS = 3  # from so many marks on, an answer is not plain at all


@reward()
def format(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    wants: str | None = None,
    max_paragraphs: int | None = None,
    same_language: bool = True,
    from_prompt: bool = True,
    **columns: Any,
) -> list[float | None]:
    """Score in [0, 1] how much of the form asked for is kept; None where none was asked for.

    The form is list, json, headings or plain: that of the column `format`, else of `wants`, else,
    with `from_prompt`, the one that the prompt asks for. `max_paragraphs` bounds blocks of text;
    `same_language` wants Chinese answered in Chinese and English in English, unless the prompt
    asks for a translation. The score is the mean of the checks that apply.

    >>> format(["How do I reset it? List the steps."] * 2, [
    ...     "1. Hold the button.\\n2. Wait for the light.", "Hold the button, then wait."])
    [1.0, 0.5]
    """
    if wants is not None and not parse_format(wants):
        raise BadParameter(f"format: no format {wants!r}; {nearest(wants, _WORDS['names'])}")
    if max_paragraphs is not None and max_paragraphs < 1:
        raise BadParameter(f"format needs max_paragraphs >= 1, not {max_paragraphs}")
    asked = columns.get("format") or [None] * len(completions)
    scores: list[float | None] = []
    for prompt, completion, wanted in zip(prompts, completions, asked, strict=True):
        question, answer = last_user_text(prompt), completion_text(completion).strip()
        named = asked_format(question) if from_prompt else None
        kind = parse_format(wanted) or parse_format(wants) or named
        parts = [_CHECKS[kind](answer) if kind else None]
        if max_paragraphs is not None:
            parts.append(_few_paragraphs(answer, max_paragraphs))
        if same_language and kind != "json":
            parts.append(language_kept(question, answer))
        applied = [part for part in parts if part is not None]
        scores.append(fmean(applied) if applied else None)
    return scores


@lru_cache(maxsize=1024)
def _parse(wanted: str) -> str | None:
    word = fold(wanted).strip()
    return next((name for name, words in _WORDS["names"].items() if word in words), None)


def parse_format(wanted: object) -> str | None:
    """Read the name of a format, in either language.

    >>> parse_format("列表"), parse_format("JSON"), parse_format("sonnet"), parse_format(None)
    ('list', 'json', None, None)
    """
    return _parse(wanted) if isinstance(wanted, str) else None


def asked_format(question: str) -> str | None:
    """Return the format that a question asks for, if any.

    >>> asked_format("请分点列出步骤"), asked_format("Use no bullets"), asked_format("Hi")
    ('list', 'plain', None)
    """
    order = ("plain", "json", "headings", "list")  # "no bullets" asks for plain, not for a list
    return next((name for name in order if _ASKED[name].search(question)), None)


def language_kept(question: str, answer: str) -> float | None:
    """Return how much of an answer is in its question's language; None where that can't be told."""
    asked, told = chinese_share(prose(question)), chinese_share(prose(answer))
    if asked is None or 0.25 < asked < 0.6 or _OTHER_LANGUAGE.search(question):
        return None
    if told is None:
        return None if answer else 0.0
    return min(1.0, 2 * (told if asked > 0.5 else 1 - told))  # names and terms may be foreign


def _is_list(answer: str) -> float:
    """Want two different items or more, and no more lines around them than items."""
    items = {fold(item) for item in _ITEM.findall(answer)}
    lines = sum(1 for line in answer.splitlines() if line.strip())
    return min(1.0, 2 * len(items) / lines) if len(items) > 1 else 0.0


def _is_json(answer: str) -> float:
    """Want one object or array and nothing else, fenced or bare."""
    fenced = _FENCE.match(answer)
    try:
        value = json.loads(fenced[1] if fenced else answer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return 0.0
    return float(isinstance(value, dict | list))


def _has_headings(answer: str) -> float:
    """Want headings with text under them."""
    headings = {fold(line) for line in _HEADING.findall(answer)}
    lines = [line for line in answer.splitlines() if line.strip() and not _HEADING.match(line)]
    return min(1.0, len(lines) / len(headings)) if headings else 0.0


def _is_plain(answer: str) -> float:
    return max(0.0, 1 - len(_MARKDOWN.findall(answer)) / _MARKS) if answer else 0.0


def _few_paragraphs(answer: str, most: int) -> float:
    return min(1.0, most / len(_PARAGRAPH.split(answer))) if answer else 0.0


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_CHECKS: dict[str, Callable[[str], float]] = {
    "list": _is_list,
    "json": _is_json,
    "headings": _has_headings,
    "plain": _is_plain,
}
