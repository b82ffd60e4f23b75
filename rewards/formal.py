"""`formal` of `rewards.style` for a whole batch: the same marks, found for all texts at once."""

import numpy as np
from numpy.typing import NDArray

from rewards.length import counted, counted_between, smoothsteps
from rewards.texts import characters as ch
from rewards.texts.batch import Batch, Floats
from rewards.texts.hashing import Places, distinct, windows
from rewards.texts.phrases import Found, Lexicon, find
from rewards.texts.text import CLOSED


def formal_of_all(batch: Batch, terms: Lexicon, slang: Lexicon) -> Floats:
    """Return `rewards.style.formal` of each text."""
    plain = np.maximum(0.0, 1 - (_count(batch, find(batch, slang)) + _emojis(batch)) / 2)
    return plain * (0.5 * _terms(batch, find(batch, terms)) + 0.5 * _whole(batch))


def _terms(batch: Batch, found: Found) -> Floats:
    """Score different terms, and take off for a list of them."""
    tokens, count = counted(batch), _count(batch, found)
    different = distinct(windows(batch.hashed, *found), count)
    wanted = np.minimum(4.0, np.maximum(1.0, tokens / 10))
    stuffed = np.maximum(0.0, count / np.maximum(tokens, 1) - 0.3)
    score: Floats = np.minimum(1.0, different / wanted) * np.maximum(0.0, 1 - 5 * stuffed)
    return score


def _whole(batch: Batch) -> Floats:
    """Score sentences: closed by punctuation, and long enough to be one."""
    at, stop = batch.breaks
    said = np.flatnonzero(batch.segments[:-1] & ch.SOMETHING)
    closed = stop[said + 1] | _trails_off(batch, said)
    score = smoothsteps(counted_between(batch, at)[said] / 8) * closed
    row = batch.rows(at[said + 1])
    count = np.bincount(row, minlength=len(batch))
    total = np.bincount(row, score, minlength=len(batch))
    found: Floats = total / np.maximum(count, 1)
    return found


def _trails_off(batch: Batch, said: Places) -> NDArray[np.bool_]:
    """Tell the sentences that no mark ends but "…" or the like before the end of the line."""
    at, stop = batch.breaks
    found = np.zeros(len(said), np.bool_)
    maybe = ~stop[said + 1] & (batch.segments[said] & (ch.ELLIPSIS | ch.DOT) > 0)
    for place in np.flatnonzero(maybe).tolist():
        first, last = at[said[place]] + 1, at[said[place] + 1]
        found[place] = CLOSED.search(batch.joined[first:last].strip()) is not None
    return found


def _count(batch: Batch, found: Found) -> Places:
    return np.diff(np.searchsorted(found.start, batch.starts))


def _emojis(batch: Batch) -> Places:
    if not (batch.held & ch.EMOJI).any():
        return np.zeros(len(batch), np.intp)
    at = np.flatnonzero(batch.kinds & ch.EMOJI > 0)
    return np.diff(np.searchsorted(at, batch.starts))
