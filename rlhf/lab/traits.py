"""What a reward may like for its own sake: length, a language, a format; or another's taste."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from rewards import count_tokens
from rewards.texts.text import is_chinese
from rlhf.data.records import Record
from rlhf.lab.accuracy import Floats
from rlhf.lab.mix import Answer

# Fewer answers tell nothing of how two scores go together.
_FEWEST = 10
# Headings, list items, tables, code, bold: what a page would show as more than a paragraph.
_MARKS = re.compile(
    r"^ {0,3}(?:#{1,6} |[-*+] |\d{1,3}[.)] |\||```)|\*\*[^*\n]+\*\*|`[^`\n]+`", re.M
)


def traits(answers: Sequence[Answer]) -> dict[str, Floats]:
    """Length in tokens, marks of format, and whether it is Chinese, `[answers]` each."""
    return {
        "length": np.array([count_tokens(a.text) for a in answers]),
        "format": np.array([float(len(_MARKS.findall(a.text))) for a in answers]),
        "chinese": np.array([float(is_chinese(a.text)) for a in answers]),
    }


def language_of(record: Record) -> str:
    """`zh` or `en`, by the prompt's last turn."""
    return "zh" if is_chinese(record.prompt[-1]["content"]) else "en"


def spearman(first: Floats, second: Floats) -> float | None:
    """Rank correlation where both have a value; None where either is constant."""
    kept = ~(np.isnan(first) | np.isnan(second))
    if kept.sum() < _FEWEST:
        return None
    ranks: npt.NDArray[np.float64] = np.stack([rankdata(v[kept]) for v in (first, second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    sizes = np.sqrt((ranks**2).sum(axis=1))
    if not sizes.all():
        return None
    return float(ranks[0] @ ranks[1] / sizes.prod())


def spearman_matrix(columns: Floats) -> list[list[float | None]]:
    """Of every two columns of `[answers, columns]`."""
    return [[spearman(first, second) for second in columns.T] for first in columns.T]
