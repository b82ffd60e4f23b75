"""`length`: 1 inside a band of tokens, falling smoothly to 0 outside it.

Counting is fair to both languages: an answer and its translation should get about the same
number. English spends about 1.3 tokens on a word. Translations take 1.3 (the short answers in
`tests/rewards/conftest.py`) to 1.7 (the translators' rule of thumb for prose) Chinese characters
for an English word; 1.3 / 1.5 ≈ 0.85 a character sits between. Real tokenizers spend less on
Chinese, which is why `exact` exists.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards.errors import BadParameter
from rewards.registry import reward
from rewards.texts.batch import Batch, Floats, once, scores
from rewards.texts.hashing import Places
from rewards.texts.text import Turn, completion_texts, spans

# In fortieths of a token, whose sums are exact: 0.85 a CJK character, 1.3 a word, and beyond a
# usual word one for eight letters, so that one run of letters is no way around a limit.
_PARTS = 40
_CJK_PARTS, _WORD_PARTS, _LETTER_PARTS = 34, 52, 5


@reward()
def length(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    low: float = 20,
    high: float = 80,
    softness: float = 1.0,
    exact: bool = False,
    **columns: Any,
) -> list[float]:
    """Score in [0, 1] how well an answer's length fits the band from `low` to `high` tokens.

    Above the band the score reaches 0 at `high · (1 + softness)`, below it at no token at all.
    Tokens are estimated by `count_tokens`, or with `exact` counted in the column
    `completion_ids`.

    >>> length(["Hours?"] * 2, ["", "We are open from nine to five."], low=6, high=24)
    [0.0, 1.0]
    """
    if not 0 <= low <= high or softness < 0:
        raise BadParameter(
            f"length needs 0 <= low <= high, softness >= 0: {low=}, {high=}, {softness=}"
        )
    if exact and "completion_ids" not in columns:
        raise BadParameter("length: exact=true needs the column 'completion_ids'")
    if exact:
        counts = [float(len(ids)) for ids in columns["completion_ids"]]
        return [band(count, low, high, softness) for count in counts]
    return scores(
        completion_texts(completions),
        lambda batch: bands(counted(batch), low, high, softness),
        lambda text: band(count_tokens(text), low, high, softness),
    )


def count_tokens(text: str) -> float:
    """Estimate the tokens of a Chinese, English or mixed text, punctuation left out.

    >>> count_tokens("请多喝水"), count_tokens("Drink water")
    (3.4, 2.6)
    """
    parts = sum(
        len(span) * _CJK_PARTS if cjk else max(_WORD_PARTS, len(span) * _LETTER_PARTS)
        for span, cjk in spans(text)
    )
    return parts / _PARTS


def counted(batch: Batch) -> Floats:
    """Return `count_tokens` of each text."""
    return counted_between(batch, batch.starts)


def counted_between(batch: Batch, edges: Places) -> Floats:
    """Return the tokens between each edge, where no word is cut, and the next."""
    found: Floats = np.diff(_upto(batch)[np.searchsorted(batch.runs[0], edges)]) / _PARTS
    return found


@once
def _upto(batch: Batch) -> NDArray[np.int64]:
    """Return the parts of tokens before each run, and at the end all."""
    sizes, word = batch.words
    parts = sizes * np.where(word, _LETTER_PARTS, _CJK_PARTS)
    # No word has less than its parts, but the end of a contraction, which has no size, none.
    np.maximum(parts, _WORD_PARTS * (word & (sizes > 0)), out=parts)
    upto = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(parts, out=upto[1:])
    return upto


def band(count: float, low: float, high: float, softness: float = 1.0) -> float:
    """Return 1 from `low` to `high`, 0 at no token and from `high · (1 + softness)` on."""
    if count < low:
        return smoothstep(count / low)
    if count <= high:
        return 1.0
    return smoothstep(1 - (count - high) / (high * softness)) if high * softness else 0.0


def smoothstep(x: float) -> float:
    """Rise from 0 at 0 to 1 at 1, flat at both ends so that the edges of a band don't jerk.

    >>> smoothstep(-1), smoothstep(0.5), smoothstep(2)
    (0.0, 0.5, 1.0)
    """
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)


def bands(counts: Floats, low: float, high: float, softness: float = 1.0) -> Floats:
    """Return `band` of each count."""
    below = smoothsteps(counts / low) if low else np.ones_like(counts)
    slope = high * softness
    above = smoothsteps(1 - (counts - high) / slope) if slope else np.zeros_like(counts)
    return np.where(counts < low, below, np.where(counts <= high, 1.0, above))


def smoothsteps(x: Floats) -> Floats:
    """Return `smoothstep` of each."""
    x = np.clip(x, 0.0, 1.0)
    found: Floats = x * x * (3 - 2 * x)
    return found
