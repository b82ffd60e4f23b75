"""Tell in a whole batch which rules of `rewards.compliance` an answer could break at all.

A rule needs words (`rewards.texts.literals`), or digits, to be broken; nearly every answer lacks
them for nearly every rule, and is then spared the search. A text that `rewards.texts.plain` would
change in more than its punctuation must be screened after it did.
"""

from collections import defaultdict
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewards.near import Flags, Placed, found, holding, near
from rewards.rules import Rule
from rewards.texts import characters as ch
from rewards.texts.batch import Batch, once
from rewards.texts.hashing import Hashes, Places, hash_of, windows
from rewards.texts.literals import DIGIT, LETTERS, Clause
from rewards.texts.phrases import BITS, chinese_heads, pair_heads

_GRAM = 3  # letters of an English word that are looked up
# What a word begins with: a Chinese one with one or two characters, an English one with one or two
# grams, or if it is shorter with a letter.
_CHARS = slice(0, 1 << 16)
_PAIRS = slice(_CHARS.stop, _CHARS.stop + (1 << BITS))
_GRAMS = slice(_PAIRS.stop, _PAIRS.stop + (1 << 16))
_SIXES = slice(_GRAMS.stop, _GRAMS.stop + (1 << 16))
_SHORT = slice(_SIXES.stop, _SIXES.stop + 128)
_NUMBERS = frozenset(("ID_CARD", "BANK_CARD", "PASSPORT", "PHONE"))
_DIGITS, _WITHIN = 7, 25  # the shortest number of a person, breaks between all of its digits


class Words(NamedTuple):
    """The clauses' words, sorted by the place of what each begins with."""

    known: NDArray[np.bool_]
    """The places of at least one."""
    begun: NDArray[np.bool_]
    """The grams that one begins with."""
    first: Places
    """Where the words of each place begin, and at the end their number."""
    short: list[tuple[int, int]]
    """First letters and places of words that are shorter than a gram."""
    sizes: Places
    hashes: Hashes
    clauses: Places
    """The clauses of each word, one word's after the other's; they begin at `of`."""
    of: Places


class Screen(NamedTuple):
    """Rules made ready: `ways[r]` holds groups of needs."""

    words: Words
    digits: Places
    """The clauses that any digit meets."""
    ways: tuple[tuple[tuple[Placed, ...], ...], ...]
    size: int


@lru_cache(maxsize=32)
def screen(rules: tuple[Rule, ...]) -> Screen:
    """Collect what the rules need."""
    number: dict[Clause, int] = {}
    ways = tuple(
        tuple(
            tuple(
                (tuple(number.setdefault(c, len(number)) for c in clauses), reach, before)
                for clauses, reach, before in group
            )
            for group in rule.needs
        )
        for rule in rules
    )
    digits = np.array([at for clause, at in number.items() if DIGIT in clause], np.intp)
    return Screen(_words(number), digits, ways, len(number))


def _words(number: dict[Clause, int]) -> Words:
    of: dict[str, set[int]] = defaultdict(set)
    for clause, at in number.items():
        for word in clause - {DIGIT}:
            of[word].add(at)
    place = {word: _place(word) for word in of}
    words = sorted(of, key=lambda word: place[word])
    places = np.array([place[word] for word in words], np.intp)
    known = np.zeros(_SHORT.stop, np.bool_)
    known[places] = True
    begun = np.zeros(1 << 16, np.bool_)
    for word in words:
        if word.isascii() and len(word) >= _GRAM:
            begun[_grams(np.array([ord(c) for c in word[:_GRAM]], np.uint16))] = True
    return Words(
        known=known,
        begun=begun,
        first=np.searchsorted(places, np.arange(known.size + 1)),
        short=[(at, _SHORT.start + at) for at in np.flatnonzero(known[_SHORT]).tolist()],
        sizes=np.array([len(word) for word in words], np.intp),
        hashes=np.array([hash_of(word) for word in words], np.uint64),
        clauses=np.array([at for word in words for at in sorted(of[word])], np.intp),
        of=np.cumsum([0, *(len(of[word]) for word in words)]),
    )


def _place(word: str) -> int:
    """Where the words stand that begin as this one does."""
    codes = np.array([ord(c) for c in word], np.uint32)
    if word.isascii():
        if len(word) < _GRAM:
            return _SHORT.start + int(codes[0])
        grams = _grams(codes.astype(np.uint16))
        if len(word) < 2 * _GRAM:
            return _GRAMS.start + int(grams[0])
        return _SIXES.start + int(_six(grams[:1], grams[_GRAM:])[0])
    if len(word) == 1:
        return int(codes.astype(np.uint16)[0])
    return _PAIRS.start + int(pair_heads(codes[:1], codes[1:2])[0])


def suspects(batch: Batch, rules: tuple[Rule, ...]) -> Flags:
    """Return (rules, rows): where a rule must be tried. A disguised row's are no use."""
    made = screen(rules)
    clause, at = _found(batch, made)
    met = np.zeros((made.size, len(batch)), np.bool_)
    row = batch.rows(at)
    met[clause, row] = True
    somewhere = frozenset(np.flatnonzero(met.any(axis=1)).tolist())
    tried = np.ones((len(rules), len(batch)), np.bool_)
    for number, (rule, groups) in enumerate(zip(rules, made.ways, strict=True)):
        if rule.personal:
            tried[number] = _personal(batch, rule)
        for needs in groups:
            called = np.zeros(len(batch), np.bool_)
            for clauses, *_ in needs:
                if somewhere.issuperset(clauses):
                    called |= reduce(np.logical_and, (met[c] for c in clauses), True)
            tried[number] &= called
    asked = np.logical_or.reduce(tried)[row]
    return _narrowed(batch, rules, tried, clause[asked], at[asked])


def _narrowed(
    batch: Batch, rules: tuple[Rule, ...], tried: Flags, clause: Places, at: Places
) -> Flags:
    """Leave out the answers where a rule's words, found at `at`, stand too far from each other."""
    made = screen(rules)
    some = [number for number, ways in enumerate(made.ways) if ways and tried[number].any()]
    wanted = {c for n in some for group in made.ways[n] for clauses, *_ in group for c in clauses}
    if not wanted:
        return tried
    of = found(batch, wanted, clause, at)
    starts = batch.starts.tolist()
    for number in some:
        own, *others = made.ways[number]
        pattern = rules[number].forbid or rules[number].when
        any_word = pattern is not None and r"\w" in pattern.pattern
        spans = holding(batch, others, of, tried[number]) if others else None
        for row in np.flatnonzero(tried[number]).tolist():
            whole = starts[row], starts[row + 1]
            begins = [whole] if spans is None else spans.get(row, ())
            close = near(own, of, whole, begins)
            far = any_word and bool(begins) and row in _long_words(batch)
            tried[number, row] = close or far
    return tried


@once
def _long_words(batch: Batch) -> frozenset[int]:
    """The rows with a word, or a line of Chinese, of more than `LETTERS`; emoji count as well."""
    gaps = np.flatnonzero(batch.kinds & ch.SOMETHING == 0)
    long = np.flatnonzero(gaps[1:] - gaps[:-1] > LETTERS + 1)
    return frozenset(batch.rows(gaps[long] + 1).tolist())


def _found(batch: Batch, made: Screen) -> tuple[Places, Places]:
    """Return clauses with the places where one of their words begins."""
    words = made.words
    at, word = _candidates(batch, words)
    end = np.minimum(at + words.sizes[word], len(batch.codes))
    same = windows(batch.hashed, at, end) == words.hashes[word]
    at, word = at[same], word[same]
    which, clause = _expanded(words.of[word], words.of[word + 1])
    digits = np.flatnonzero(batch.kinds & ch.DIGIT > 0)
    return (
        np.concatenate([words.clauses[clause], np.tile(made.digits, len(digits))]),
        np.concatenate([at[which], np.repeat(digits, len(made.digits))]),
    )


def _candidates(batch: Batch, words: Words) -> tuple[Places, Places]:
    """Return the places where a word's head stands, with the word."""
    codes = batch.codes.astype(np.uint16)
    han, pairs = chinese_heads(batch)
    grams = _grams(codes)
    at = np.flatnonzero(words.begun.take(grams, mode="clip"))
    gram = grams.take(at)
    six = _six(gram, grams.take(at + _GRAM, mode="clip"))
    starts, places = [], []
    heads = ((_CHARS, han, codes.take(han)), (_PAIRS, han, pairs), (_GRAMS, at, gram))
    for table, start, head in (*heads, (_SIXES, at, six)):
        some = np.flatnonzero(words.known[table].take(head, mode="clip"))
        starts.append(start.take(some))
        places.append(head.take(some).astype(np.intp) + table.start)
    for char, place in words.short:
        starts.append(np.flatnonzero(codes == char))
        places.append(np.full(len(starts[-1]), place))
    heads_at = np.concatenate(places)
    which, word = _expanded(words.first.take(heads_at), words.first.take(heads_at + 1))
    return np.concatenate(starts).take(which), word


def _expanded(first: Places, last: Places) -> tuple[Places, Places]:
    """Return every number of the ranges [first, last), after the range that it is of."""
    sizes = last - first
    which = np.repeat(np.arange(len(sizes)), sizes)
    ends = np.cumsum(sizes)
    return which, np.arange(len(which)) + (first - ends + sizes)[which]


def _grams(codes: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return each three characters as one number: of letters and digits nearly all are told."""
    grams = codes[:-2] << np.uint16(5)
    grams ^= codes[1:-1]
    grams <<= 5
    grams |= codes[2:] & np.uint16(31)
    return grams


def _six(first: NDArray[np.uint16], second: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return each two grams as one number."""
    return first * np.uint16(0x9E37) + second


def _personal(batch: Batch, rule: Rule) -> NDArray[np.bool_]:
    """Where there is an @, or as many digits as make a number, close to each other."""
    some = batch.held & ch.AT > 0
    if rule.personal - _NUMBERS - {"EMAIL"}:
        return np.ones_like(some)
    digits = np.flatnonzero(batch.kinds & ch.DIGIT > 0)
    close = digits[_DIGITS - 1 :] - digits[: 1 - _DIGITS] < _WITHIN
    some[batch.rows(digits[_DIGITS - 1 :][close])] = True
    return some


def disguised(batch: Batch) -> Places:
    """Return the rows whose letters or digits `rewards.texts.plain` changes or closes up."""
    some = batch.held & ch.DISGUISED > 0
    at = np.flatnonzero(batch.kinds & (ch.FILLER | ch.DOT) > 0)
    before, after = batch.kinds[at - 1], batch.kinds[at + 1]
    gap = ch.FILLER | ch.DOT
    spaced = (before & ch.CJK > 0) & (after & (ch.CJK | ch.FILLER) > 0)
    letters = (before & after & batch.kinds[at + 3] & ch.WORD) > 0
    letters &= (batch.kinds[at + 2] & batch.kinds[at + 4] & gap) > 0
    some[batch.rows(at[spaced | letters])] = True
    return np.flatnonzero(some)
