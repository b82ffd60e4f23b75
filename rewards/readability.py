"""`readability`: is an answer as easy to read as its readers need?

English by Flesch's reading ease (1948), from words a sentence and syllables a word. For Chinese,
which has neither, the same scale is filled from characters a sentence and the share of rare
characters; its two factors are set so that the parallel answers of `tests/rewards/conftest.py`
score about the same in both languages.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from rewards.errors import BadParameter
from rewards.length import smoothstep
from rewards.registry import reward
from rewards.texts.prose import prose
from rewards.texts.text import CJK, Turn, completion_text, sentences

_HAN = re.compile(r"[\u4e00-\u9fff]")
_WORD = re.compile(rf"[^\W\d_{CJK}]+(?:['’][^\W\d_{CJK}]+)*")
_VOWELS = re.compile(r"[aeiouyàâäéèêëîïôöùûü]+")
_SILENT = re.compile(r"(?:[^laeiouy]es|[^laeiouytd]ed|[^laeiouy]e)$")
_FEWEST = 5  # words, or twice the characters: less tells nothing
_HAN_A_WORD = 1.7


@reward()
def readability(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    low: float = 50,
    high: float = 90,
    softness: float = 40,
    **columns: Any,
) -> list[float | None]:
    """Score in [0, 1] how well an answer's reading ease fits the band from `low` to `high`.

    Reading ease runs from 0 (a statute) over 60 (a newspaper) to 100 (a primer); outside the band
    the score falls to 0 over `softness` points. None for an answer of fewer than five words, or
    all code.

    >>> readability(["?"] * 2, ["请先重启路由器，再连接网络。", "Interdepartmental notwithstanding "
    ...     "considerations necessitate comprehensive organizational reconfiguration."])
    [1.0, 0.0]
    """
    if not (low <= high and softness > 0):
        raise BadParameter(
            f"readability needs low <= high and softness > 0: {low=}, {high=}, {softness=}"
        )
    eases = [reading_ease(prose(completion_text(completion))) for completion in completions]
    return [None if ease is None else _fit(ease, low, high, softness) for ease in eases]


def reading_ease(text: str) -> float | None:
    """Return the reading ease of a text, of a mixed one by the shares of its languages.

    >>> round(reading_ease("The cat sat on the mat."))
    116
    """
    words = _WORD.findall(text.lower())
    han = _HAN.findall(text)
    chinese = len(han) / _HAN_A_WORD
    if len(words) + chinese < _FEWEST:
        return None
    count = max(1, len(sentences(text)))
    length = (len(words) + chinese) / count
    ease_zh = 88 - 1.2 * length - 300 * _rare_share(han) if han else 0.0
    syllables = sum(map(_syllables, words))
    ease_en = 206.835 - 1.015 * length - 84.6 * syllables / len(words) if words else 0.0
    return (len(words) * ease_en + chinese * ease_zh) / (len(words) + chinese)


def _fit(ease: float, low: float, high: float, softness: float) -> float:
    outside = max(low - ease, ease - high, 0.0)
    return smoothstep(1 - outside / softness)


@lru_cache(maxsize=65536)
def _syllables(word: str) -> int:
    return max(1, len(_VOWELS.findall(_SILENT.sub(lambda m: m.group()[0], word))))


def _rare_share(han: Sequence[str]) -> float:
    """Return the share of characters that neither script's list of frequent ones holds."""
    common = _common()
    return sum(char not in common for char in han) / len(han) if han else 0.0


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    """The frequent characters: the first levels of GB 2312 (3,755) and of Big5 (5,401)."""
    return frozenset(_level("gb2312", 0xB0, 0xD7)) | frozenset(_level("big5", 0xA4, 0xC6))


def _level(encoding: str, first: int, last: int) -> Iterator[str]:
    for lead in range(first, last + 1):
        for trail in range(0x40, 0xFF):
            if (lead, trail) > (0xC6, 0x7E) and encoding == "big5":
                return
            yield from bytes((lead, trail)).decode(encoding, errors="ignore")
