"""`relevance`: does an answer speak of what it was asked?

Without a model it looks for the question's content words in the answer, in the manner of BM25
(Robertson and Zaragoza 2009) without the inverse document frequency: a word that comes back more
often adds little, a long answer dilutes. Chinese is cut into pairs of characters, which needs no
segmenter that might cut the question in one way and the answer in another.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from rewards.errors import BadParameter
from rewards.length import smoothstep
from rewards.registry import reward
from rewards.texts.lexicon import fold, read_lexicon
from rewards.texts.prose import last_user_text
from rewards.texts.text import Turn, completion_text, spans

_STOP = read_lexicon(__file__)
_STOP_EN = frozenset(_STOP["en"])
_PARTS_ZH = re.compile("|".join(sorted(_STOP["zh"], key=len, reverse=True)))
_ENDING = re.compile(r"(?<=[a-z]{3})(?:'s|ing|ies|ed|es|s|e|y)$")

_K, _B, _USUAL = 0.5, 0.5, 60  # BM25's k1 and b, and the content terms of a usual answer
_NEW = 0.3  # below this share of words of its own, an answer gives the question back


@reward()
def relevance(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    enough: float = 0.5,
    model: Path | None = None,
    **columns: Any,
) -> list[float | None]:
    """Score in [0, 1] how much of the question's subject an answer takes up.

    1 is reached where the share `enough` of the question's content words is in the answer; giving
    the question back earns nothing. None where the question has no content word. With `model`, a
    folder or hub id of a sentence embedding model, the score is the cosine of the two embeddings
    (0 where negative), which sees meaning across words and languages.

    >>> relevance(["How do I return a damaged parcel?"] * 2, [
    ...     "A damaged parcel can be returned free of charge within 14 days.", "It is sunny."])
    [1.0, 0.0]
    """
    if not 0 < enough <= 1:
        raise BadParameter(f"relevance needs 0 < enough <= 1, not {enough}")
    questions = [last_user_text(prompt) for prompt in prompts]
    answers = [completion_text(completion) for completion in completions]
    if model is not None:
        from rewards.services.encoder import (
            cosines,  # here: torch is loaded where a model is asked for
        )

        return [max(0.0, cosine) for cosine in cosines(questions, answers, str(model))]
    pairs = zip(questions, answers, strict=True)
    return [overlap(question, answer, enough) for question, answer in pairs]


def overlap(question: str, answer: str, enough: float = 0.5) -> float | None:
    """Return how much of the question's content is in the answer; None where it has none."""
    wanted = set(content_terms(question))
    if not wanted:
        return None
    found = Counter(content_terms(answer))
    size = sum(found.values())
    if not size:
        return 0.0
    dilution = _K * (1 - _B + _B * max(1.0, size / _USUAL))
    taken_up = sum(
        _weight(term) * min(1.0, found[term] * (1 + _K) / (found[term] + dilution))
        for term in wanted
    )
    share = taken_up / sum(map(_weight, wanted))
    own = sum(term not in wanted for term in found) / len(found)
    return min(1.0, share / enough) * smoothstep(own / _NEW)


def content_terms(text: str) -> list[str]:
    """Return the words of a subject: English ones without endings, Chinese pairs of characters.

    >>> content_terms("高血压怎么办? Refunded parcels")
    ['高血', '血压', 'refund', 'parcel']
    """
    terms: list[str] = []
    for span, cjk in spans(fold(text)):
        if cjk:
            for run in _PARTS_ZH.split(span):
                terms.extend(map("".join, pairwise(run)) if run[1:] else run)
        elif span not in _STOP_EN:
            terms.append(_stem(span))
    return terms


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    """Take an English ending off, roughly: both texts are cut alike, so they still meet."""
    return _ENDING.sub("", word)


def _weight(term: str) -> float:
    """Long words say more; two characters of Chinese weigh as a word of five letters."""
    return len(term) / 2 if not term.isascii() else min(1.5, 0.5 + len(term) / 10)
