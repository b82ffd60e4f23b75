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
from rewards.hashing import Places
from rewards.literals import Clause
from rewards.rules import Rule

_LONGEST = 4  # letters of a word that are looked for
_BITS = 16
_FACTOR, _SPREAD = np.uint32(0x01000193), np.uint32(0x9E3779B1)
_NUMBERS = frozenset(("ID_CARD", "BANK_CARD", "PASSPORT", "PHONE"))
_DIGITS, _WITHIN = 7, 25  # the shortest number of a person, breaks between all of its digits

Grams = NDArray[np.uint32]


class Words(NamedTuple):
    """Clauses' words by the gram that each begins with."""

    known: tuple[NDArray[np.bool_], ...]
    """For each length of a gram, the places where one of them falls."""
    grams: Grams
    first: Places
    """Where the clauses of each gram begin in `clauses`, and at the end their number."""
    clauses: Places


class Screen(NamedTuple):
    """Rules made ready: `ways[r]` holds groups of needs, a need numbers of clauses."""

    words: Words
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
    return Screen(_words(number), ways, len(number))


def _words(number: dict[Clause, int]) -> Words:
    by_gram: dict[int, set[int]] = defaultdict(set)
    known = tuple(np.zeros(1 << _BITS, np.bool_) for _ in range(_LONGEST))
    for clause, at in number.items():
        for word in clause:
            size = min(len(word), _LONGEST)
            codes = np.array([ord(c) for c in word[:size]] + [0] * _LONGEST, np.uint32)
            gram = _grams(codes)[size - 1][:1]
            known[size - 1][_places(gram)] = True
            by_gram[int(gram[0])].add(at)
    grams = sorted(by_gram)
    sizes = [len(by_gram[gram]) for gram in grams]
    clauses = [at for gram in grams for at in sorted(by_gram[gram])]
    return Words(known, np.array(grams, np.uint32), np.cumsum([0, *sizes]), np.array(clauses, int))


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
    """Return (clauses, rows): whether a row holds a word of the clause, or one that begins so."""
    met = np.zeros((made.size, len(batch)), np.bool_)
    for grams, known in zip(_grams(batch.codes), made.words.known, strict=True):
        at = np.flatnonzero(known[_places(grams)])
        gram = np.searchsorted(made.words.grams, grams[at])
        gram = np.minimum(gram, len(made.words.grams) - 1)
        same = made.words.grams[gram] == grams[at]
        at, gram = at[same], gram[same]
        row = batch.rows(at)
        first, last = made.words.first[gram], made.words.first[gram + 1]
        for turn in range(int((last - first).max(initial=0))):
            more = first + turn < last
            met[made.words.clauses[first[more] + turn], row[more]] = True
    return met


def _grams(codes: NDArray[np.uint32]) -> list[Grams]:
    """Return all grams of one letter, of two, ..., each as one number."""
    grams = [codes * _FACTOR]
    for size in range(1, _LONGEST):
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
