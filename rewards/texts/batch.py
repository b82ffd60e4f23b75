"""A batch of answers read at once: the parts that the rewards of one answer share.

All texts stand one after the other in one array of characters, each between two line ends; a
word, a sentence or a token is its place in it. What holds for one text is defined in
`rewards.texts.text`, `rewards.length` and `rewards.repetition`; here it is found for thousands, and
a text with one of the few characters that would need more than a table (`odd`) is left to those.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewards.texts import characters as ch
from rewards.texts.hashing import Hashes, Places, sums, windows

# So many characters keep their arrays in a processor's nearer caches, and NumPy's calls are few.
_AT_ONCE = 1 << 17
FEW = 2  # texts are read sooner one by one
_PAD = 8  # line ends behind the last text, so that looking a few characters ahead is safe

Floats = NDArray[np.float64]
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts joined: row r is [starts[r], starts[r + 1] - 1), after it comes a line end."""

    texts: tuple[str, ...]
    joined: str
    starts: Places
    codes: NDArray[np.uint32]
    kinds: NDArray[np.uint16]
    made: dict[Callable[["Batch"], Any], Any] = field(default_factory=dict)
    """What `once` keeps."""

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def held(self) -> NDArray[np.uint16]:
        """The kinds of characters that a row has, joined."""
        return np.bitwise_or.reduceat(self.kinds, self.starts[:-1])

    @cached_property
    def odd(self) -> Places:
        """The rows that must be read by themselves."""
        return np.flatnonzero(self.held & ch.ODD)

    def rows(self, places: Places) -> Places:
        """The row of each place."""
        return np.searchsorted(self.starts, places, side="right") - 1

    @cached_property
    def hashed(self) -> Hashes:
        """Prefix sums of the characters, for `rewards.texts.hashing.windows`."""
        return sums(self.codes)

    @cached_property
    def runs(self) -> tuple[Places, Places, NDArray[np.bool_]]:
        """Start and end of each run of CJK characters, or of letters of other scripts (True)."""
        letters = self.kinds & (ch.CJK | ch.WORD)
        edges = np.flatnonzero(letters[1:] != letters[:-1]) + 1
        kind = letters.take(edges)
        some = np.flatnonzero(kind)
        return edges.take(some), edges.take(some + 1), kind.take(some) == ch.WORD

    @cached_property
    def word_runs(self) -> tuple[Places, Places]:
        """Start and end of the runs that are of letters of other scripts than CJK."""
        start, end, word = self.runs
        some = np.flatnonzero(word)
        return start.take(some), end.take(some)

    @cached_property
    def latin(self) -> tuple[Places, Places]:
        """Start and end of each run of a-z and 0-9."""
        if not (self.held & ch.FOREIGN).any():
            return self.word_runs
        letters = (self.kinds & (ch.WORD | ch.FOREIGN)) == ch.WORD
        edges = np.flatnonzero(letters[1:] != letters[:-1]) + 1
        return edges[::2], edges[1::2]

    @cached_property
    def words(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Characters of each run, and whether it is a word: "don't" is one of five, and nothing."""
        start, end, word = self.runs
        sizes = end - start
        joined = word[1:] & word[:-1] & (start[1:] == end[:-1] + 1)
        joined &= (self.kinds[end[:-1]] & ch.APOSTROPHE) > 0
        second = np.flatnonzero(joined) + 1
        if len(second):
            # Of a'b'c the first two are a word: in a row of joined runs every other joins.
            new = np.diff(second, prepend=second[0] - 2) != 1
            first = np.maximum.accumulate(np.where(new, np.arange(len(second)), 0))
            second = second[(np.arange(len(second)) - first) % 2 == 0]
            sizes[second - 1] = end[second] - start[second - 1]
            sizes[second] = 0
        return sizes, word

    @cached_property
    def breaks(self) -> tuple[Places, NDArray[np.bool_]]:
        """Where sentences end, and whether at punctuation; segment i is between break i and i+1."""
        at = np.flatnonzero(self.kinds & (ch.STOP | ch.NEWLINE | ch.DOT) > 0)
        kind = self.kinds[at]
        dots = np.flatnonzero(kind & ch.DOT > 0)
        after = at[dots] + 1
        ends = (self.kinds[after] & ch.SPACE > 0) | np.isin(self.codes[after], _AFTER_FULL_STOP)
        keep = np.ones(len(at), np.bool_)
        keep[dots[~ends]] = False
        return at[keep], kind[keep] & ch.NEWLINE == 0

    @cached_property
    def segments(self) -> NDArray[np.uint16]:
        """The kinds of characters between one break and the next, the first break's included."""
        return np.bitwise_or.reduceat(self.kinds, self.breaks[0])

    @cached_property
    def tokens(self) -> tuple[Places, NDArray[np.bool_]]:
        """Start of each CJK character, emoji, and word of other scripts (True)."""
        mask = (self.kinds & (ch.CJK | ch.EMOJI)) > 0
        mask[self.word_runs[0]] = True
        at = np.flatnonzero(mask)
        return at, self.kinds.take(at) & ch.WORD > 0

    @cached_property
    def token_counts(self) -> Places:
        """The tokens of each row."""
        return np.diff(np.searchsorted(self.tokens[0], self.starts))

    @cached_property
    def token_values(self) -> Hashes:
        """What each token is, whatever its case: a character's code, a word's hash."""
        at, words = self.tokens
        values = self.codes.take(at).astype(np.uint64)
        values[np.flatnonzero(words)] = windows(self.hashed, *self.word_runs)
        return values


def once(make: Callable[[Batch], Made]) -> Callable[[Batch], Made]:
    """Make something of a batch once, and keep it as long as the batch."""

    @wraps(make)
    def kept(batch: Batch) -> Made:
        if make not in batch.made:
            batch.made[make] = make(batch)
        found: Made = batch.made[make]
        return found

    return kept


_AFTER_FULL_STOP = np.array([ord(mark) for mark in "\"'”)"], np.uint32)  # `’` is read as `'`


def read(texts: Sequence[str]) -> Iterator[Batch]:
    """Read texts in parts of some characters; the last are kept for the next reward."""
    upto = np.cumsum(np.fromiter(map(len, texts), np.intp, len(texts)) + 1)
    first = done = 0
    while first < len(texts):
        last = int(np.searchsorted(upto, done + _AT_ONCE)) + 1
        yield _read(tuple(texts[first:last]))
        first, done = last, int(upto[min(last, len(texts)) - 1])


# The strings of one batch are the same objects for every reward, so that a look-up compares
# addresses. 16 parts of 131,072 characters take some 60 MB.
@lru_cache(maxsize=16)
def _read(texts: tuple[str, ...]) -> Batch:
    joined = "\n".join(("", *texts, "\n" * _PAD))
    sizes = np.fromiter(map(len, texts), np.intp, len(texts))
    starts = np.ones(len(texts) + 1, np.intp)
    np.cumsum(sizes + 1, out=starts[1:])
    starts[1:] += 1
    lower, kinds = ch.characters()
    raw = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.intp)
    return Batch(texts, joined, starts, lower.take(raw, mode="clip"), kinds.take(raw, mode="clip"))


def forget() -> None:
    """Let go of what was read: the next batch is made in the memory of this one."""
    _read.cache_clear()


def scores(
    texts: Sequence[str], together: Callable[[Batch], Floats], alone: Callable[[str], float]
) -> list[float]:
    """Score texts together, and the odd ones among them one by one."""
    if len(texts) <= FEW:
        return [alone(text) for text in texts]
    found: list[float] = []
    for batch in read(texts):
        part = together(batch).tolist()
        for row in batch.odd.tolist():
            part[row] = alone(batch.texts[row])
        found += part
    return found
