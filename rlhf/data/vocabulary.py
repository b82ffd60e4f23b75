"""How rich the words of some texts are, and which come most; Chinese words by jieba."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from rewards.texts.text import words
from rlhf.config import load

_WORDS = 50_000  # distinct-n falls with the number of words, so that a fixed one is compared
_LONGEST = 1_000  # characters of a text: one that is very long would speak for all
_TOP = 30


def vocabulary(texts: Sequence[str]) -> dict[str, Any]:
    """Distinct-1 and distinct-2 (Li et al. 2016) of the first 50,000 words, and frequent words.

    Pairs do not reach over the end of a text. Stop words count for distinct-n only.
    """
    singles: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    read = 0
    for text in texts:
        said = words(text[:_LONGEST])
        singles.update(said)
        pairs.update(pairwise(said))
        read += len(said)
        if read >= _WORDS:
            break
    telling = [(w, n) for w, n in singles.items() if w not in _stop_words() and not w.isdigit()]
    return {
        "words": read,
        "distinct_1": len(singles) / max(1, read),
        "distinct_2": len(pairs) / max(1, pairs.total()),
        "top": [[w, n] for w, n in sorted(telling, key=lambda pair: (-pair[1], pair[0]))[:_TOP]],
    }


@cache
def _stop_words() -> frozenset[str]:
    lists = load(Path(__file__).with_name("stop_words.yaml"))
    return frozenset(word for words_ in lists.values() for word in words_.split())
