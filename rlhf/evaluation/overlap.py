"""BLEU and ROUGE, in Chinese as in English."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rewards.texts.text import CJK, is_chinese
from rlhf.evaluation.estimate import Estimate

Language = Literal["zh", "en"]
ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")

_SACREBLEU_TOKENIZER = {"zh": "zh", "en": "13a"}
_ORDER = 4
_RESAMPLES = 500
_TOKEN = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")


@dataclass(frozen=True)
class SentenceBleu:
    """One row's BLEU (0-100) and the counts that add up to a corpus's.

    `counts` is `[2 · 4 + 2]`: n-grams that match, n-grams in all, the lengths of answer and
    reference.
    """

    language: Language
    score: float
    counts: npt.NDArray[np.int64]


class _Characters:
    """rouge-score keeps only a-z and 0-9: every Chinese answer would score 0 against any other.

    Characters, not jieba's words, as in LCSTS (Hu et al. 2015): no segmenter to disagree with.
    """

    def tokenize(self, text: str) -> list[str]:
        return _TOKEN.findall(text.lower())


# Both are imported where they are asked for: rouge-score brings all of nltk, two seconds of every
# command's start.


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE_TYPES), tokenizer=_Characters())


@cache
def _bleu(language: Language) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=_SACREBLEU_TOKENIZER[language], effective_order=True)


def rouge(answer: str, reference: str) -> dict[str, float]:
    """F-measures in [0, 1]: words for scripts with spaces, characters for those without."""
    scores = _rouge().score(reference, answer)
    return {name: float(scores[name].fmeasure) for name in ROUGE_TYPES}


def sentence_bleu(answer: str, reference: str) -> SentenceBleu:
    """sacrebleu's smoothed sentence BLEU, with the tokenizer of the reference's language."""
    language: Language = "zh" if is_chinese(reference) else "en"
    score = _bleu(language).sentence_score(answer, [reference])
    counts = [*score.counts, *score.totals, score.sys_len, score.ref_len]
    return SentenceBleu(language, float(score.score), np.asarray(counts, dtype=np.int64))


def corpus_bleu(
    rows: Sequence[SentenceBleu], groups: Sequence[Hashable], confidence: float = 0.95
) -> Estimate | None:
    """sacrebleu's corpus BLEU of rows of one language, with a bootstrap interval over groups.

    Koehn 2004, "Statistical significance tests for machine translation evaluation".
    """
    if not rows:
        return None
    sums: dict[Hashable, Any] = Counter()
    for row, group in zip(rows, groups, strict=True):
        sums[group] = sums[group] + row.counts
    counts = np.stack(list(sums.values()))
    value = _bleu_of(counts.sum(0))
    if len(counts) < 2:
        return Estimate(value, None, None, len(rows))
    rng = np.random.default_rng(0)
    times_drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), _RESAMPLES)
    resampled = [_bleu_of(total) for total in times_drawn @ counts]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(resampled, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high), len(rows))


def _bleu_of(counts: npt.NDArray[np.int64]) -> float:
    from sacrebleu.metrics import BLEU

    matches, totals = counts[:_ORDER].tolist(), counts[_ORDER : 2 * _ORDER].tolist()
    answer_length, reference_length = counts[2 * _ORDER :].tolist()
    score = BLEU.compute_bleu(
        matches, totals, sys_len=answer_length, ref_len=reference_length, smooth_method="exp"
    )
    return float(score.score)
