"""The words that texts share: shingles of one to four tokens, and prompts that are nearly alike."""

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# Chinese and Japanese have no spaces: there each character is a token, and one says too little.
_WIDE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_WIDE}]|[^\W_{_WIDE}]+")
_ONE_WIDE = re.compile(rf"[{_WIDE}]")
_LONGEST = 4
_CHUNK = 1_000
# What lies further in is not read: one endless text may not cost all the memory.
_MOST_TOKENS = 2_000
_MOST_PAIRS = 300


class Shingles(NamedTuple):
    """The texts that hold each shingle, and its words."""

    texts: list[Ints]
    words: list[str]


def tokens(text: str) -> list[str]:
    """Words and single wide characters, in one case and width."""
    return _TOKEN.findall(_folded(text))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def shingles(texts: dict[int, str], weight: Ints, *, least: int) -> Shingles:
    """Every shingle whose texts weigh `least` together; those in the same texts count once."""
    vocabulary: dict[str, int] = {}
    runs = [
        np.array(
            [vocabulary.setdefault(t, len(vocabulary)) for t in tokens(text)[:_MOST_TOKENS]],
            np.int64,
        )
        for text in texts.values()
    ]
    owner = np.repeat(np.array(list(texts), np.int64), [len(run) for run in runs])
    token = np.concatenate(runs) if runs else np.zeros(0, np.int64)
    words = list(vocabulary)
    wide = np.array([bool(_ONE_WIDE.match(word)) for word in words], bool)
    merged: dict[bytes, tuple[Ints, str]] = {}
    key, starts = token.copy(), np.arange(len(token))
    for length in range(1, _LONGEST + 1):
        kept, starts, key = _frequent(key, starts, owner, weight, least)
        for members, start in kept:
            if length == 1 and wide[token[start]]:
                continue
            spelled = " ".join(words[t] for t in token[start : start + length])
            # The longest words for the same texts tell a reader most.
            known = merged.setdefault(members.tobytes(), (members, spelled))
            if len(spelled) > len(known[1]):
                merged[members.tobytes()] = (members, spelled)
        # A longer shingle can weigh enough only where the shorter one that it begins with does.
        inside = starts + length < len(token)
        starts, key = starts[inside], key[inside]
        inside = owner[starts] == owner[starts + length]
        starts, key = starts[inside], key[inside]
        key = _mix(key) + token[starts + length]
    groups = list(merged.values())
    return Shingles([members for members, _ in groups], [spelled for _, spelled in groups])


def holds(text: str, phrases: Sequence[list[str]]) -> Iterator[int]:
    """Which of the phrases (as tokens) occur in a text."""
    folded = _folded(text)
    # Few texts hold all words of a rare phrase, in whatever order: only those are taken apart.
    likely = [n for n, phrase in enumerate(phrases) if all(word in folded for word in phrase)]
    if not likely:
        return
    padded = f" {' '.join(_TOKEN.findall(folded))} "
    for number in likely:
        if f" {' '.join(phrases[number])} " in padded:
            yield number


def near_duplicates(prompts: Sequence[str], *, bands: int = 8, rows: int = 4) -> Ints:
    """A cluster's number for each prompt: that of the first prompt which is nearly the same.

    MinHash and banding (Broder 1997; Leskovec, Rajaraman and Ullman, chapter 3) over pairs of
    tokens find the candidates; alike are those of an estimated Jaccard similarity of 0.7.
    """
    size = bands * rows
    marks = np.zeros((len(prompts), size), np.int32)
    factors = np.random.default_rng(2026).integers(1, 2**62, size, dtype=np.int64) | 1
    for start in range(0, len(prompts), _CHUNK):
        chunk = [_pairs(prompt) for prompt in prompts[start : start + _CHUNK]]
        firsts = np.cumsum([0] + [len(pairs) for pairs in chunk[:-1]])
        mixed = np.concatenate(chunk)[:, None] * factors[None, :]
        least = np.minimum.reduceat((mixed >> 33) & 0x7FFFFFFF, firsts, axis=0)
        marks[start : start + len(chunk)] = least
    lead = np.arange(len(prompts))
    for band in range(bands):
        rows_of = marks[:, band * rows : (band + 1) * rows]
        _, first, bucket = np.unique(rows_of, axis=0, return_index=True, return_inverse=True)
        leader = first[bucket.reshape(-1)]
        alike = (marks == marks[leader]).mean(axis=1) >= 0.7
        lead = np.where(alike, np.minimum(lead, leader), lead)
    return np.asarray(lead[lead])


def _pairs(text: str) -> Ints:
    found = tokens(text)[:_MOST_PAIRS] or [""]
    pairs = zip(found, found[1:] or [""], strict=False)
    return np.array([zlib.crc32(f"{a} {b}".encode()) + 1 for a, b in pairs], np.int64)


def _frequent(
    key: Ints, starts: Ints, owner: Ints, weight: Ints, least: int
) -> tuple[list[tuple[Ints, int]], Ints, Ints]:
    """The keys whose texts weigh enough: their texts and one place; and all their places."""
    if not len(key):
        return [], starts, key
    order = np.lexsort([owner[starts], key])
    key, starts = key[order], starts[order]
    texts = owner[starts]
    new_key = np.concatenate([[True], key[1:] != key[:-1]])
    fresh = new_key | np.concatenate([[True], texts[1:] != texts[:-1]])
    begins = np.flatnonzero(new_key)
    sums = np.add.reduceat(np.where(fresh, weight[texts], 0), begins)
    ends = np.append(begins[1:], len(key))
    enough = np.flatnonzero(sums >= least)
    kept = []
    for i in enough:
        here = slice(begins[i], ends[i])
        kept.append((texts[here][fresh[here]], int(starts[begins[i]])))
    often = np.repeat(sums >= least, ends - begins)
    return kept, starts[often], key[often]


def _mix(key: Ints) -> Ints:
    return np.asarray((key ^ (key >> 31)) * np.int64(0x9E3779B97F4A7C1))
