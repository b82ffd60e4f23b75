"""Tell in a whole batch which rules of `rewards.compliance` an answer could break at all.

A rule needs words (`rewards.literals`), or digits, to be broken; nearly every answer lacks them for
nearly every rule, and is then spared the search. A text that `rewards.plain` would change in more
than its punctuation must be screened after it did.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards import characters as ch
from rewards.batch import Batch
from rewards.hashing import Hashes, Places, hash_of, windows
from rewards.literals import DIGIT, Clause
from rewards.rules import Rule

_LONGEST = 4  # letters of a word that are looked for
_BITS = 16
_FACTOR, _SPREAD = np.uint32(0x01000193), np.uint32(0x9E3779B1)
_NUMBERS = frozenset(("ID_CARD", "BANK_CARD", "PASSPORT", "PHONE"))
_DIGITS, _WITHIN = 7, 25  # the shortest number of a person, breaks between all of its digits

Grams = NDArray[np.uint32]


class Words(NamedTuple):
    """The clauses' words, sorted by the place of the gram that each begins with."""

    known: tuple[NDArray[np.bool_], ...]
    """For each length of a gram, the places where one of them falls."""
    first: Places
    """Where the words of each place begin, and at the end their number."""
    sizes: Places
    hashes: Hashes
    clauses: tuple[NDArray[np.intp], ...]
    """Of which clauses each word is."""


class Screen(NamedTuple):
    """Rules made ready: `ways[r]` holds groups of needs, a need numbers of clauses."""

    words: Words
    digits: tuple[int, ...]
    """The clauses that any digit meets."""
    ways: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
    size: int


@lru_cache(maxsize=32)
def screen(rules: tuple[Rule, ...]) -> Screen:
    """Collect what the rules need."""
    number: dict[Clause, int] = {}
    ways = tuple(
        tuple(
            tuple(tuple(number.setdefault(c, len(number)) for c in need) for need in group)
            for group in rule.needs
        )
        for rule in rules
    )
    digits = tuple(at for clause, at in number.items() if DIGIT in clause)
    return Screen(_words(number), digits, ways, len(number))


def _words(number: dict[Clause, int]) -> Words:
    of: dict[str, set[int]] = defaultdict(set)
    for clause, at in number.items():
        for word in clause - {DIGIT}:
            of[word].add(at)
    known = tuple(np.zeros(1 << _BITS, np.bool_) for _ in range(_LONGEST))
    place = {word: _place(word) for word in of}
    words = sorted(of, key=lambda word: place[word])
    for word in words:
        known[min(len(word), _LONGEST) - 1][place[word]] = True
    return Words(
        known=known,
        first=np.searchsorted([place[word] for word in words], np.arange((1 << _BITS) + 1)),
        sizes=np.array([len(word) for word in words], np.intp),
        hashes=np.array([hash_of(word) for word in words], np.uint64),
        clauses=tuple(np.array(sorted(of[word])) for word in words),
    )


def _place(word: str) -> int:
    codes = np.array([ord(c) for c in word[:_LONGEST]], np.uint32)
    return int(_places(_grams(codes)[len(codes) - 1])[0])


def suspects(batch: Batch, rules: tuple[Rule, ...]) -> NDArray[np.bool_]:
    """Return (rules, rows): where a rule must be tried. A disguised row's are no use."""
    made = screen(rules)
    met = _met(batch, made)
    everywhere = np.ones(len(batch), np.bool_)
    found = np.empty((len(rules), len(batch)), np.bool_)
    for at, (rule, groups) in enumerate(zip(rules, made.ways, strict=True)):
        found[at] = _personal(batch, rule) if rule.personal else everywhere
        for needs in groups:
            found[at] &= _any(_all(met, need, everywhere) for need in needs)
    return found


def _met(batch: Batch, made: Screen) -> NDArray[np.bool_]:
    """Return (clauses, rows): whether a row holds a word of the clause."""
    met = np.zeros((made.size, len(batch)), np.bool_)
    met[list(made.digits)] = batch.held & ch.DIGIT > 0
    words = made.words
    for grams, known in zip(_grams(batch.codes), words.known, strict=True):
        places = _places(grams)
        at = np.flatnonzero(known[places])
        first, last = words.first[places[at]], words.first[places[at] + 1]
        for turn in range(int((last - first).max(initial=0))):
            more = np.flatnonzero(first + turn < last)
            _mark(met, batch, words, at[more], first[more] + turn)
    return met


def _mark(met: NDArray[np.bool_], batch: Batch, words: Words, at: Places, word: Places) -> None:
    end = np.minimum(at + words.sizes[word], len(batch.codes))
    same = np.flatnonzero(windows(batch.hashed, at, end) == words.hashes[word])
    rows = batch.rows(at[same])
    for row, found in zip(rows.tolist(), word[same].tolist(), strict=True):
        met[words.clauses[found], row] = True


def _grams(codes: NDArray[np.uint32]) -> list[Grams]:
    """Return all grams of one letter, of two, ..., each as one number."""
    grams = [codes * _FACTOR]
    for size in range(1, min(_LONGEST, len(codes))):
        grams.append((grams[-1][:-1] + codes[size:]) * _FACTOR)
    return grams


def _places(grams: Grams) -> NDArray[np.uint32]:
    return (grams * _SPREAD) >> np.uint32(32 - _BITS)


def _all(
    met: NDArray[np.bool_], need: Sequence[int], everywhere: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    return met[list(need)].all(axis=0) if need else everywhere


def _any(ways: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.logical_or.reduce(list(ways))


def _personal(batch: Batch, rule: Rule) -> NDArray[np.bool_]:
    """Where there is an @, or as many digits as make a number, close to each other."""
    found = np.zeros(len(batch), np.bool_)
    if rule.personal - _NUMBERS - {"EMAIL"}:
        return ~found
    digits = np.flatnonzero(batch.kinds & ch.DIGIT)
    near = digits[_DIGITS - 1 :] - digits[: 1 - _DIGITS] < _WITHIN
    found[batch.rows(digits[_DIGITS - 1 :][near])] = True
    return found | (batch.held & ch.AT > 0)


def disguised(batch: Batch) -> Places:
    """Return the rows whose letters or digits `rewards.plain` changes or closes up."""
    found = batch.held & ch.DISGUISED > 0
    at = np.flatnonzero(batch.kinds & (ch.FILLER | ch.DOT))
    before, after = batch.kinds[at - 1], batch.kinds[at + 1]
    gap = ch.FILLER | ch.DOT
    spaced = (before & ch.CJK > 0) & (after & (ch.CJK | ch.FILLER) > 0)
    letters = (before & after & batch.kinds[at + 3] & ch.WORD) > 0
    letters &= (batch.kinds[at + 2] & batch.kinds[at + 4] & gap) > 0
    found[batch.rows(at[spaced | letters])] = True
    return np.flatnonzero(found)
