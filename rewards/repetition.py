"""`repetition`: how much of an answer has been said in it before.

Chinese has no spaces, so n-grams of space-separated words see nothing in it; here a window holds
`n` words, where a CJK character counts as half a word. Windows stay inside a sentence, and a
sentence shorter than one is a window itself: so saying a sentence again can only raise the rate.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards.errors import BadParameter
from rewards.registry import reward
from rewards.texts.batch import Batch, Floats, scores
from rewards.texts.hashing import distinct, scattered, sums, windows
from rewards.texts.text import CJK, EMOJI, Turn, completion_texts, sentences

# A CJK character, an emoji, or a word of any other script.
_TOKEN = re.compile(rf"(?P<half>[{CJK}{EMOJI}])|[^\W_{CJK}]+")
_FACTOR = np.uint32(0x9E3779B1)


@reward()
def repetition(
    prompts: Sequence[Turn], completions: Sequence[Turn], *, n: int = 3, **columns: Any
) -> list[float]:
    """Penalise repeated n-grams in [-1, 0], in Chinese as in English; `n` counts words.

    >>> repetition(["?"] * 2, ["多喝水。多喝水。多喝水。多喝水。", "多喝水，早点休息。"])
    [-0.75, 0.0]
    """
    if n < 1:
        raise BadParameter(f"repetition needs n >= 1, not {n}")
    return scores(
        completion_texts(completions),
        lambda batch: 0.0 - rates(batch, n),
        lambda text: 0.0 - repetition_rate(text, n),
    )


def repetition_rate(text: str, n: int = 3) -> float:
    """Return the share in [0, 1] of a text's n-grams that occurred in it before.

    >>> repetition_rate("Please wait. Please wait.")
    0.5
    """
    grams = [gram for sentence in sentences(text) for gram in _grams(sentence, 2 * n)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(sentence: str, width: int) -> Iterator[tuple[str, ...]]:
    """Yield every window of `width` halves of a word, or the whole where it is shorter."""
    tokens = [(m.group().lower(), 1 if m["half"] else 2) for m in _TOKEN.finditer(sentence)]
    texts = [text for text, _ in tokens]
    end = held = 0
    for start, (_, halves) in enumerate(tokens):
        while held < width and end < len(tokens):
            held += tokens[end][1]
            end += 1
        if held < width and start:
            return
        yield tuple(texts[start:end])
        held -= halves


def rates(batch: Batch, n: int = 3) -> Floats:
    """Return `repetition_rate` of each text."""
    found = np.zeros(len(batch))
    maybe = _begin_alike(batch, min(n, 3))
    counts = batch.token_counts
    some = np.flatnonzero(np.repeat(maybe, counts))
    if not len(some):
        return found
    at, word = (of.take(some) for of in batch.tokens)
    values = batch.token_values.take(some)
    edges = np.searchsorted(at, batch.breaks[0])  # no token lies before the first break
    sizes = np.diff(edges)
    halves = np.concatenate([[0], np.cumsum(1 + word)])
    until = np.repeat(halves[edges[1:]], sizes)
    wanted = halves[:-1] + 2 * n
    whole = wanted <= until
    whole[edges[:-1][sizes > 0]] = True  # a sentence's first window, however short
    start = np.flatnonzero(whole)
    by = np.repeat(np.arange(1, len(at) + 1), 1 + word)  # the place by which each half is held
    end = by[np.minimum(wanted, until)[start] - 1]
    grams = windows(sums(scattered(values)), start, end)
    rows = np.flatnonzero(maybe)
    counts = np.diff(np.searchsorted(start, np.cumsum(counts[rows])), prepend=0)
    found[rows] = np.where(counts, 1 - distinct(grams, counts) / np.maximum(counts, 1), 0.0)
    return found


def _begin_alike(batch: Batch, few: int) -> NDArray[np.bool_]:
    """Tell the rows that hold the same `few` tokens twice, or two sentences of still fewer.

    No other has a window twice. Some have none either: these hashes are of 32 bits with the row's
    number.
    """
    values = batch.token_values.astype(np.uint32) * _FACTOR
    hashes = values
    for more in range(1, few):
        hashes = (hashes[:-1] + values[more:]) * _FACTOR
    bits = np.uint32(max(1, (len(batch) - 1).bit_length()))
    rest = np.uint32(32) - bits
    row = np.repeat(np.arange(len(batch), dtype=np.uint32) << rest, batch.token_counts)
    keys = np.sort(row[: len(hashes)] | (hashes >> bits))
    found = np.zeros(len(batch), np.bool_)
    found[keys[1:][keys[1:] == keys[:-1]] >> rest] = True
    ends = batch.breaks[0]
    sizes = np.diff(np.searchsorted(batch.tokens[0], ends))
    short = batch.rows(ends[1:][(sizes > 0) & (sizes < few)])
    found[short[1:][short[1:] == short[:-1]]] = True
    return found
