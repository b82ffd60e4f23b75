"""Find a lexicon's phrases in a whole batch, as the one pattern of `rewards.style` would find them.

An English phrase stands between other characters than a-z and 0-9, a Chinese one anywhere; `*`
takes any ending, or in Chinese more of its last character. What a phrase begins with (four letters
of its first word, or two Chinese characters) is looked up for every word at once, and the few that
are left are compared whole, by hash.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.texts import characters as ch
from rewards.texts.batch import Batch, once
from rewards.texts.hashing import Hashes, Places, hash_of, windows
from rewards.texts.text import CJK

_HEAD = 4  # letters of an English phrase's first word
_HEAD_MASKS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.uint32)
BITS = 14  # of the table of heads
_CHINESE = re.compile(rf"[{CJK}]{{2,}}\*?")
_ENGLISH = re.compile(rf"[a-z0-9]+(?:[ '-][a-z0-9]+)*|(?=[a-z]{{{_HEAD}}})[a-z]+(?:[ -][a-z]+)*\*")


class Lexicon(NamedTuple):
    """Phrases sorted by the place of their heads, and there as the pattern would try them."""

    first: Places
    """The first phrase of each place."""
    number: NDArray[np.uint16]
    sizes: Places
    hashes: Hashes
    chinese: NDArray[np.bool_]
    open: NDArray[np.bool_]


class Found(NamedTuple):
    """Where phrases stand, from left to right, none overlapping."""

    start: Places
    end: Places


@lru_cache
def lexicon(phrases: tuple[str, ...]) -> Lexicon | None:
    """Make phrases ready; None where one of them needs the pattern itself."""
    ordered = [phrase.lower() for phrase in sorted(phrases, key=len, reverse=True)]
    if not all(_CHINESE.fullmatch(p) or _ENGLISH.fullmatch(p) for p in ordered):
        return None
    texts = [phrase.rstrip("*") for phrase in ordered]
    codes = [np.array([ord(c) for c in text], np.uint32) for text in texts]
    chinese = np.array([_CHINESE.match(text) is not None for text in texts])
    places = np.array([_place_of(c, zh) for c, zh in zip(codes, chinese, strict=True)])
    order = np.argsort(places, kind="stable")
    count = np.bincount(places, minlength=1 << BITS)
    return Lexicon(
        first=np.cumsum(count) - count,
        number=count.astype(np.uint16),
        sizes=np.array([len(text) for text in texts])[order],
        hashes=np.array([hash_of(text) for text in texts])[order],
        chinese=chinese[order],
        open=np.array([phrase.endswith("*") for phrase in ordered])[order],
    )


def find(batch: Batch, of: Lexicon) -> Found:
    """Return all that the pattern's `finditer` finds in each text."""
    at, place = heads(batch)
    some = np.flatnonzero(of.number.take(place))
    at, place = at.take(some), place.take(some)
    end = np.zeros_like(at)
    for turn in range(int(of.number.max(initial=0))):
        left = np.flatnonzero((end == 0) & (of.number[place] > turn))
        end[left] = _ends(batch, of, at[left], of.first[place[left]] + turn)
    return _apart(at[end > 0], end[end > 0])


@once
def heads(batch: Batch) -> tuple[Places, Places]:
    """Return where a phrase may begin, and the place of what stands there in a lexicon's table."""
    start, (han, pairs) = batch.latin[0], chinese_heads(batch)
    words = _word_heads(batch.codes, *batch.latin)
    return np.concatenate([start, han]), np.concatenate([words, pairs])


@once
def chinese_heads(batch: Batch) -> tuple[Places, Places]:
    """Return where Chinese characters stand, and the place of each with the next in a table."""
    han = np.flatnonzero(batch.kinds & ch.CJK > 0)
    return han, pair_heads(batch.codes.take(han), batch.codes.take(han + 1))


def _word_heads(codes: NDArray[np.uint32], start: Places, end: Places) -> Places:
    head = codes[start]
    for more in range(1, _HEAD):
        head |= codes[start + more] << np.uint32(8 * more)
    head &= _HEAD_MASKS[np.minimum(end - start, _HEAD)]
    return _spread(head)


def pair_heads(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> Places:
    """Return the place of two characters in a table of `1 << BITS`."""
    return _spread(first * np.uint32(0x85EBCA6B) + second)


def _spread(head: NDArray[np.uint32]) -> Places:
    found: Places = ((head * np.uint32(0x9E3779B1)) >> np.uint32(32 - BITS)).astype(np.intp)
    return found


def _place_of(codes: NDArray[np.uint32], chinese: bool) -> int:
    if chinese:
        return int(pair_heads(codes[:1], codes[1:2])[0])
    letters = [code < 128 and chr(code).isalnum() for code in codes]
    size = [*letters, False].index(False)
    padded = np.concatenate([codes, np.zeros(_HEAD, np.uint32)])
    return int(_word_heads(padded, np.array([0]), np.array([size]))[0])


def _ends(batch: Batch, of: Lexicon, at: Places, phrase: Places) -> Places:
    """Return where a phrase that begins here ends, 0 where it does not stand here."""
    end = np.minimum(at + of.sizes[phrase], len(batch.codes) - 1)
    same = np.flatnonzero(windows(batch.hashed, at, end) == of.hashes[phrase])
    found: Places = np.zeros_like(end)
    found[same] = end[same]
    zh, open_ = of.chinese[phrase[same]], of.open[phrase[same]]
    word, open_word = same[~zh & ~open_], same[~zh & open_]
    found[word] *= ~_latin(batch, end[word])
    found[open_word] = _ends_of_words(batch, end[open_word])
    if len(more := same[zh & open_]):
        changes = np.flatnonzero(batch.codes[1:] != batch.codes[:-1]) + 1
        found[more] = changes[np.searchsorted(changes, end[more])]
    return found


def _latin(batch: Batch, at: Places) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (batch.kinds[at] & (ch.WORD | ch.FOREIGN)) == ch.WORD
    return found


def _ends_of_words(batch: Batch, at: Places) -> Places:
    """Return where the letters that follow end, 0 where a digit follows them."""
    goes_on = np.flatnonzero(_latin(batch, at))
    start, (_, ends) = at[goes_on], batch.latin
    stop = ends[np.searchsorted(ends, start, side="right")]
    edges = np.stack([start, stop], axis=1).ravel()
    digits = np.bitwise_or.reduceat(batch.kinds, edges)[::2] & ch.DIGIT if len(edges) else edges
    found: Places = at.copy()
    found[goes_on] = np.where(digits, 0, stop)
    return found


def _apart(start: Places, end: Places) -> Found:
    """Keep the first of those that overlap, as a search from left to right does."""
    order = np.argsort(start)
    start, end = start[order], end[order]
    kept = np.ones(len(start), np.bool_)
    for at in (np.flatnonzero(start[1:] < np.maximum.accumulate(end)[:-1]) + 1).tolist():
        last = at - 1  # that is kept
        while not kept[last]:
            last -= 1
        kept[at] = start[at] >= end[last]
    return Found(start[kept], end[kept])
