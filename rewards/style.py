"""`style`: does an answer speak as it was asked to: formal, concise or caring?

Marks rather than a model: it is meant to shape a style early and to be seen through, next to a
judge or a reward model. Each mark is capped, so that stuffing an answer with it does not pay.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from rewards.formal import formal_of_all
from rewards.length import band, bands, count_tokens, counted, smoothstep
from rewards.registry import reward
from rewards.repetition import rates, repetition_rate
from rewards.texts.batch import scores
from rewards.texts.phrases import lexicon
from rewards.texts.text import CJK, CLOSED, EMOJI, Turn, completion_texts, sentences

_LEXICON: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
)
_SLANG = tuple(map(str, _LEXICON["slang"]))

_EMOJI = re.compile(f"[{EMOJI}]")
_SUBSTANCE_TOKENS = 15  # kind words alone are no answer


@reward()
def style(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    target: str | None = None,
    terms: dict[str, list[str]] | None = None,
    max_tokens: float = 60,
    **columns: Any,
) -> list[float | None]:
    """Score in [0, 1] how well an answer keeps the style asked for; None where none was.

    The style is the row's, from the column `style`, else `target`; several ("专业且关怀") are
    averaged. `terms` adds words of a field to the formal ones, `max_tokens` bounds a concise
    answer.

    >>> style(["?"] * 2, ["ok lol", "Please confirm your order number."], style=["正式", None])
    [0.0, None]
    """
    asked = columns.get("style") or [None] * len(completions)
    extra = tuple(word for words in (terms or {}).values() for word in words)
    usual, texts = parse_style(target), completion_texts(completions)
    named = {w for w in asked if isinstance(w, str)}
    if len(usual) == 1 and all(_names(w, target) == usual for w in named):
        return [*_scores(usual[0], texts, extra, max_tokens)]
    names = [_names(w, target) if isinstance(w, str) else usual for w in asked]
    scored: dict[str, Iterator[float]] = {}
    for name in {name for row in names for name in row}:
        rows = [text for text, row in zip(texts, names, strict=True) if name in row]
        scored[name] = iter(_scores(name, rows, extra, max_tokens))
    return [_mean([next(scored[name]) for name in row]) for row in names]


def parse_style(wanted: object) -> tuple[str, ...]:
    """Read the styles that a text asks for, in either language.

    >>> parse_style("专业且关怀"), parse_style("Concise"), parse_style(None)
    (('formal', 'caring'), ('concise',), ())
    """
    if not isinstance(wanted, str):
        return ()
    names = _LEXICON["names"].items()
    return tuple(name for name, words in names if _phrases(tuple(words)).search(wanted.lower()))


def formal(text: str, extra: tuple[str, ...] = ()) -> float:
    """Score words of a field, whole sentences of some length, and the absence of slang."""
    parts = sentences(text)
    if not parts:
        return 0.0
    tokens = count_tokens(text)
    whole = fmean(_whole_sentence(part) for part in parts)
    slang = len(_phrases(_SLANG).findall(text)) + len(_EMOJI.findall(text))
    plain = max(0.0, 1 - slang / 2)
    return plain * (0.5 * _terms_score(text, tokens, extra) + 0.5 * whole)


def term_density(text: str) -> float:
    """Return the share of a text that is formal terms: far above 0.25 it is a list of them."""
    return len(_formal_terms(()).findall(text)) / max(count_tokens(text), 1)


def concise(text: str, max_tokens: float = 60) -> float:
    """Score a bounded length without repetition."""
    return band(count_tokens(text), 4, max_tokens) * (1 - repetition_rate(text))


def caring(text: str) -> float:
    """Score that the person is seen, and that a next step is offered."""
    seen = _phrases(tuple(_LEXICON["acknowledge"])).search(text) is not None
    last = sentences(text)[-1:]
    asks = bool(last) and last[0].rstrip("”’\"')）").endswith(("？", "?"))
    offers = asks or _phrases(tuple(_LEXICON["offer"])).search(text) is not None
    return (seen + offers) / 2 * smoothstep(count_tokens(text) / _SUBSTANCE_TOKENS)


def _mean(parts: Sequence[float]) -> float | None:
    if len(parts) == 1:  # the usual case, and fmean is slow
        return parts[0]
    return fmean(parts) if parts else None


@lru_cache(maxsize=1024)
def _names(wanted: str, target: str | None) -> tuple[str, ...]:
    return parse_style(wanted) or parse_style(target)


def _scores(
    name: str, texts: Sequence[str], extra: tuple[str, ...], max_tokens: float
) -> list[float]:
    if name == "formal":
        return _formal_scores(texts, extra)
    if name == "concise":
        return scores(
            texts,
            lambda batch: bands(counted(batch), 4, max_tokens) * (1 - rates(batch)),
            lambda text: concise(text, max_tokens),
        )
    return [caring(text) for text in texts]


def _formal_scores(texts: Sequence[str], extra: tuple[str, ...]) -> list[float]:
    terms, slang = lexicon(_terms(extra)), lexicon(_SLANG)
    if terms is None or slang is None:
        return [formal(text, extra) for text in texts]
    return scores(
        texts,
        lambda batch: formal_of_all(batch, terms, slang),
        lambda text: formal(text, extra),
    )


def _terms_score(text: str, tokens: float, extra: tuple[str, ...]) -> float:
    """Reward different terms up to about one in ten tokens; a list of terms is no sentence."""
    found = [m.group().lower() for m in _formal_terms(extra).finditer(text)]
    wanted = min(4.0, max(1.0, tokens / 10))
    stuffed = max(0.0, len(found) / max(tokens, 1) - 0.3)  # ordinary answers stay below 0.25
    return min(1.0, len(set(found)) / wanted) * max(0.0, 1 - 5 * stuffed)


def _whole_sentence(sentence: str) -> float:
    """Score a sentence: closed by punctuation, and long enough to be one."""
    if not CLOSED.search(sentence):
        return 0.0
    return smoothstep(count_tokens(sentence) / 8)


def _formal_terms(extra: tuple[str, ...]) -> re.Pattern[str]:
    return _phrases(_terms(extra))


@lru_cache
def _terms(extra: tuple[str, ...]) -> tuple[str, ...]:
    fields: Iterable[list[str]] = _LEXICON["terms"].values()
    return (*(str(word) for words in fields for word in words), *extra)


@lru_cache
def _phrases(phrases: tuple[object, ...]) -> re.Pattern[str]:
    """Compile one pattern for all phrases, longest first; `*` stands for any ending."""
    ordered = sorted((str(phrase) for phrase in phrases), key=len, reverse=True)
    return re.compile("|".join(map(_phrase, ordered)), re.IGNORECASE)


def _phrase(phrase: str) -> str:
    pattern = re.escape(phrase.rstrip("*")).replace("'", "['’]")
    if re.search(f"[{CJK}]", phrase):
        return pattern + (rf"{pattern[-1]}*" if phrase.endswith("*") else "")
    ending = r"[a-z]*" if phrase.endswith("*") else ""
    return rf"(?<![a-z0-9]){pattern}{ending}(?![a-z0-9])"
