"""What a text must hold for a pattern to match in it: a few words instead of a search.

Of `(建议|推荐).{0,9}(买入|卖出)` one of the first two and one of the last two; a text without them
needs no search. Parts that say nothing of the letters (classes, repeats that may be none,
look-arounds) are passed over, so a text that holds the words may still not match. Words are lower
case and cut to what `rewards.texts.plain` leaves as it stands; `DIGIT` stands for any digit.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import product, takewhile
from typing import Any, NamedTuple

from rewards.texts.plain import KEPT
from rewards.texts.text import CJK

Clause = frozenset[str]
"""Words of which one must be there."""


class Need(NamedTuple):
    """What one way of matching needs."""

    clauses: tuple[Clause, ...]
    """All must be met; none where nothing is known."""
    reach: int
    """All words begin within so many characters, in a text without words of over `LETTERS`."""
    before: int = 0
    """So many may the match begin before that."""


DIGIT = "\0"
LETTERS = 40  # of a word, at most; a text with longer ones is not judged by distances

_parser: Any = vars(re)["_parser"]
_MOST = 64  # words that parts of a pattern are multiplied out to
_RUN = re.compile(f"[a-z0-9{re.escape(KEPT)}]+|[{CJK}]+|{DIGIT}")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_ZERO_WIDTH = ("AT", "ASSERT", "ASSERT_NOT")


def needs(patterns: Iterable[str]) -> tuple[Need, ...]:
    """Return what a text must hold for each way in which one of the patterns can match."""
    found: list[Need] = []
    for pattern in patterns:
        parsed = _parser.parse(pattern, re.I)
        whole = list(parsed)
        ways = whole[0][1][1] if len(whole) == 1 and _name(whole[0]) == "BRANCH" else [parsed]
        found += [_need(way) for way in ways]
    return _fewer(found)


def _fewer(found: Sequence[Need]) -> tuple[Need, ...]:
    """Make one of the needs that ask for one clause each."""
    single = [need for need in found if len(need.clauses) == 1]
    if not single:
        return tuple(found)
    any_of = frozenset().union(*(need.clauses[0] for need in single))
    one = Need((any_of,), *(max(far) for far in zip(*(n[1:] for n in single), strict=True)))
    return (one, *(need for need in found if len(need.clauses) != 1))


def _need(items: Iterable[Any]) -> Need:
    items = [item for item in items if _name(item) not in _ZERO_WIDTH]
    exact, clauses = _sequence(items)
    some = tuple(c for c in ([*clauses, _clause(exact)] if exact else clauses) if c)
    untold = list(takewhile(lambda item: _item(item) == (None, []), items))
    return Need(some, _reach(items[len(untold) :]), _width(untold))


def _reach(items: Iterable[Any]) -> int:
    """How far from the start of these a word in them may begin: what follows it doesn't count."""
    *before, last = [item for item in items if _name(item) not in _ZERO_WIDTH] or [("", None)]
    name, value = _name(last), last[1]
    inside = 0
    if name == "SUBPATTERN":
        inside = _reach(value[3])
    elif name == "BRANCH":
        inside = max(map(_reach, value[1]))
    elif name in _REPEATS:
        inside = _reach(value[2])  # its first round holds what it needs
    return inside + _width(before)


def _width(items: Iterable[Any]) -> int:
    """How many characters a sequence can be at most."""
    width = 0
    for item in items:
        name, value = _name(item), item[1]
        if name == "SUBPATTERN":
            width += _width(value[3])
        elif name == "BRANCH":
            width += max(map(_width, value[1]))
        elif name in _REPEATS and value[1] == _parser.MAXREPEAT and _is_word(value[2]):
            width += LETTERS
        else:
            width += int(_parser.SubPattern(_parser.State(), [item]).getwidth()[1])
    return width


def _is_word(body: Any) -> bool:
    r"""Tell whether the body of a repeat is `\w`."""
    return [(_name(i), str(i[1])) for i in body] == [("IN", "[(CATEGORY, CATEGORY_WORD)]")]


def _sequence(items: Iterable[Any]) -> tuple[set[str] | None, list[Clause]]:
    """Return all texts that a sequence can be, if they are few, and else what each must hold."""
    clauses: list[Clause] = []
    held: set[str] = {""}
    whole = True
    for item in items:
        exact, more = _item(item)
        if exact is not None and len(exact) * len(held) <= _MOST:
            held = {a + b for a, b in product(held, exact)}
            continue
        clauses += [_clause(held), *more]
        if exact is not None:
            clauses.append(_clause(exact))
        held, whole = {""}, False
    if whole:
        return held, []
    return None, [c for c in [*clauses, _clause(held)] if c]


def _item(item: Any) -> tuple[set[str] | None, list[Clause]]:
    name, value = _name(item), item[1]
    if name == "LITERAL":
        return {chr(value).lower()}, []
    if name in _ZERO_WIDTH:
        return {""}, []
    if name == "SUBPATTERN":
        return _sequence(value[3])
    if name == "BRANCH":
        return _branch(value[1])
    if name == "IN":
        return _class(value), []
    if name in _REPEATS:
        return _repeat(*value)
    return None, []


def _class(parts: Sequence[Any]) -> set[str] | None:
    found = set()
    for name, value in parts:
        if str(name) == "LITERAL":
            found.add(chr(value).lower())
        elif str(value) == "CATEGORY_DIGIT":
            found.add(DIGIT)
        else:
            return None
    return found


def _branch(ways: Sequence[Any]) -> tuple[set[str] | None, list[Clause]]:
    """Return the texts of all ways together, or the best clause of each as one."""
    found = [_sequence(way) for way in ways]
    exact = [texts for texts, _ in found if texts is not None]
    if len(exact) == len(found) and sum(map(len, exact)) <= _MOST:
        return set().union(*exact), []
    best = [_best([_clause(texts)] if texts is not None else more) for texts, more in found]
    return None, [_clause(frozenset().union(*best))] if all(best) else []


def _repeat(least: int, most: int, body: Any) -> tuple[set[str] | None, list[Clause]]:
    exact, clauses = _sequence(body)
    if (least, most) == (0, 1) and exact is not None:
        return exact | {""}, []
    if (least, most) == (1, 1):
        return exact, clauses
    if not least:
        return None, []
    return None, [_clause(exact)] if exact is not None else clauses


def _clause(texts: Iterable[str]) -> Clause:
    """Return the words of which one is in each text; none where a text has no telling one."""
    words = [max(_RUN.findall(text), key=_worth, default="") for text in texts]
    if not all(map(_worth, words)):
        return frozenset()
    return frozenset(w for w in words if not any(v in w for v in words if v != w))


def _best(clauses: Sequence[Clause]) -> Clause:
    return max(
        clauses, key=lambda c: (min(map(_worth, c), default=0), -len(c)), default=frozenset()
    )


def _worth(word: str) -> int:
    """How much a word tells: a Chinese character as two letters, one letter nothing."""
    if word.isascii() and word != DIGIT:
        return max(0, len(word.strip(KEPT)) - 1, len(word) > 1)
    return 1 if word == DIGIT else 2 * len(word)


def _name(item: Any) -> str:
    return str(item[0])
