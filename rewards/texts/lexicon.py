"""Phrases in text: all of a lexicon found in one pass, however many they are (Aho-Corasick).

English phrases match whole words and a trailing `*` takes any ending; Chinese has no spaces, so a
phrase matches wherever it stands and a longer one guards against it ("傻瓜相机" against "傻瓜").
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ahocorasick
import yaml

from rewards.texts.text import CJK

_ENDING = re.compile(r"[a-z]*")
_LETTER = re.compile(r"[a-z0-9]")
_CJK = re.compile(f"[{CJK}]")


class Hit(NamedTuple):
    """A phrase at folded[start:end] and the group of the lexicon that it belongs to."""

    start: int
    end: int
    group: str
    phrase: str


class Lexicon:
    """Groups of phrases, compiled once.

    >>> lexicon = Lexicon({"fruit": ["apple*", "苹果"], "firm": ["苹果公司"]})
    >>> [(hit.group, hit.phrase) for hit in lexicon.find("Apples? 苹果公司不卖苹果, not applet-s")]
    [('fruit', 'apple*'), ('firm', '苹果公司'), ('fruit', '苹果'), ('fruit', 'apple*')]
    """

    def __init__(self, groups: Mapping[str, Iterable[object]]) -> None:
        self._automaton = ahocorasick.Automaton()
        phrases: dict[str, tuple[str, str]] = {}
        for group, written in groups.items():
            for phrase in map(str, written):
                key = fold(phrase.removesuffix("*"))
                if key.strip() and not (key in phrases and phrases[key][1].endswith("*")):
                    phrases[key] = (group, phrase)
        for key, (group, phrase) in phrases.items():
            self._automaton.add_word(key, (len(key), _CJK.search(key) is None, group, phrase))
        self._automaton.make_automaton()

    def find(self, text: str) -> list[Hit]:
        """Return the phrases in a text, in order; of overlapping ones the first, then longest."""
        folded = fold(text)
        hits = sorted(self._every(folded), key=lambda hit: (hit.start, -hit.end))
        kept: list[Hit] = []
        for hit in hits:
            if not kept or hit.start >= kept[-1].end:
                kept.append(hit)
        return kept

    def _every(self, folded: str) -> Iterator[Hit]:
        if not len(self._automaton):
            return
        for last, (size, whole, group, phrase) in self._automaton.iter(folded):
            start, end = last + 1 - size, last + 1
            if whole and start and _LETTER.match(folded, start - 1) and _LETTER.match(phrase[0]):
                continue
            if whole and phrase.endswith("*"):
                ending = _ENDING.match(folded, end)
                end = ending.end() if ending else end
            if whole and _LETTER.match(folded, end):
                continue
            yield Hit(start, end, group, phrase)


def fold(text: str) -> str:
    """Lower-case a text and straighten its apostrophes; every character keeps its place.

    >>> fold("Don’t İ")
    "don't i"
    """
    lower = text.lower()
    if len(lower) != len(text):  # İ is the one letter whose lower case is two characters
        lower = text.replace("İ", "I").lower()
    return lower.replace("’", "'")


def read_lexicon(beside: str) -> dict[str, Any]:
    """Read the YAML file that lies beside a module and has its name."""
    path = Path(beside).with_suffix(".yaml")
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data
