"""In which of many texts a detector could find anything: the others need not be read one by one.

Each cue is what every find of a detector holds, of the characters that its patterns ask for. Where
there is none the detectors find nothing; where there is one they decide.
"""

import re
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from feedback_store.detectors.chinese_names import (
    CALLINGS,
    STRONG_CUES,
    TITLES_ALONE,
    WEAK_CUES,
)
from feedback_store.detectors.name_lexicon import (
    COMMON_SURNAMES,
    COMPOUND_SURNAMES,
    GIVEN,
    SURNAMES,
)
from feedback_store.detectors.plates import PROVINCES
from feedback_store.joined import Joined, Kinds, Mask, kinds_of, next_to

_DIGIT, _AT, _PROVINCE, _SMALL, _CAPITAL, _SPACE = (1 << bit for bit in range(6))
_DASH, _BREAK, _NUMERAL, _UNIT, _DOOR, _TOWN, _VILLAGE = (1 << bit for bit in range(6, 13))
# How words beside names begin: those of one character, the first of others, what follows it.
_WORD, _HEAD, _TAIL = (1 << bit for bit in range(13, 16))
_WORDS: Final = (*STRONG_CUES, *WEAK_CUES, *CALLINGS, *TITLES_ALONE)
_CLASSES: Final = {
    _DIGIT: r"\d",
    _AT: "@",
    _PROVINCE: f"[{PROVINCES}]",
    _SMALL: "[a-z]",
    _CAPITAL: "[A-Z]",
    _SPACE: " ",
    _DASH: "-",
    _BREAK: "[().]",
    _NUMERAL: "[一二三四五六七八九十百]",
    _UNIT: "[号弄栋幢座单楼层室户]",
    _DOOR: "[号弄栋幢座室户单村屯社]",
    _TOWN: "[镇乡街]",
    _VILLAGE: "[村屯社]",
    _WORD: f"[{''.join(word[0] for word in _WORDS if re.fullmatch(word, word[0]))}]",
    _HEAD: f"[{''.join(word[0] for word in _WORDS)}]",
    _TAIL: f"[{''.join(re.findall('[一-鿿]', ''.join(word[1:] for word in _WORDS)))}]",
}
_FEWEST_DIGITS: Final = 7  # of `LONG_NUMBER`, with so many breaks at most between two of them
_BREAKS: Final = 3
_POST_CODE: Final = 5


def with_cues(texts: Joined, seen_as: tuple[tuple[int, str], ...]) -> Mask:
    """The texts in which a detector could find something; `seen_as` is how detectors read them."""
    table, names = _prepared(seen_as)
    kinds = texts.kinds(table)
    held = texts.held(kinds)
    digits = texts.count(kinds & _DIGIT > 0)
    small, capital = kinds & _SMALL > 0, kinds & _CAPITAL > 0
    # "Mr", "name", "St": all of English but a post code behind capitals.
    found = (held & _AT > 0) | texts.with_any(next_to(small | capital, small) | _plates(kinds))
    found |= texts.with_any(next_to(capital, capital)) & (digits >= _POST_CODE)
    found[np.searchsorted(texts.ends, _long_numbers(kinds))] = True
    found |= _addresses(texts, kinds, held)
    begun = (kinds & _WORD > 0) | next_to(kinds & _HEAD > 0, kinds & _TAIL > 0)
    named = [at for at in np.flatnonzero(begun).tolist() if names.match(texts.text, at)]
    found[np.searchsorted(texts.ends, named)] = True
    return found


def _long_numbers(kinds: Kinds) -> NDArray[np.intp]:
    """Where seven digits follow each other, but for breaks."""
    at = np.flatnonzero(kinds & _DIGIT)
    breaks = kinds & (_SPACE | _DASH | _BREAK) > 0
    gap = np.diff(at) - 1
    near = gap <= _BREAKS
    for further in range(1, _BREAKS + 1):
        near &= (gap < further) | breaks[np.minimum(at[:-1] + further, at[1:])]
    apart = np.zeros(len(at), np.intp)
    apart[1:] = np.cumsum(~near)
    together = apart[_FEWEST_DIGITS - 1 :] == apart[: 1 - _FEWEST_DIGITS]
    found: NDArray[np.intp] = at[: 1 - _FEWEST_DIGITS][together]
    return found


def _plates(kinds: Kinds) -> Mask:
    letter, gap = kinds & (_SMALL | _CAPITAL) > 0, kinds & (_SPACE | _DASH) > 0
    return next_to(kinds & _PROVINCE > 0, letter | next_to(gap, letter))


def _addresses(texts: Joined, kinds: Kinds, held: Kinds) -> Mask:
    """A number before what it counts (12号, 3 栋), two dashes (3-2-501), a village of a town."""
    digit, dash, space = (kinds & kind > 0 for kind in (_DIGIT, _DASH, _SPACE))
    unit = kinds & _UNIT > 0
    part = next_to(kinds & (_DIGIT | _NUMERAL | _SMALL | _CAPITAL) > 0, unit | next_to(space, unit))
    dashed = next_to(dash, next_to(digit, dash | next_to(digit, dash)))
    door = texts.with_any(part) & (held & _DOOR > 0)
    return door | (held & _TOWN > 0) & (held & _VILLAGE > 0) | texts.with_any(dashed)


@lru_cache(maxsize=1)
def _prepared(seen_as: tuple[tuple[int, str], ...]) -> tuple[Kinds, re.Pattern[str]]:
    gaps = "".join(chr(code) for code, seen in seen_as if seen in " :")
    return kinds_of(_CLASSES, dict(seen_as)), re.compile(_names(rf"[\s:{re.escape(gaps)}]{{0,3}}"))


def _names(gap: str) -> str:
    """Words before names or behind them, each beside what a name is made of."""
    given, common = (f"[{''.join(sorted(some))}]" for some in (GIVEN, COMMON_SURNAMES))
    compound = "|".join(sorted(COMPOUND_SURNAMES))
    last = "".join(sorted(SURNAMES | {name[-1] for name in COMPOUND_SURNAMES}))
    branches = [rf"{cue}{gap}(?=[一-鿿])" for cue in STRONG_CUES]
    branches += [rf"{cue}{gap}(?=(?:{common}|{compound}){given})" for cue in WEAK_CUES]
    branches += [f"{word}(?<=[{last}]{given}{given}..)" for word in CALLINGS]
    alone = f"[{''.join(sorted(GIVEN | COMMON_SURNAMES))}]"
    branches += [f"{word}(?<={alone}..)" for word in TITLES_ALONE]
    return "|".join(branches)
