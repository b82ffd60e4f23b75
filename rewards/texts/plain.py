"""Text as a rule should see it: the tricks that hide a word from a pattern undone.

Full-width letters and ligatures are folded (NFKC), invisible characters dropped, and words that
were spaced out ("稳 赚 不 赔", "g.u.a.r.a.n.t.e.e") closed up. Every character remembers where it
stood, so that a match can be shown in the original.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rewards.texts.text import CJK

# Fillers between two Chinese characters, and (with the full stop) between single letters.
FILLERS = " \t*·•_~|^-"
# Punctuation that `rewards.texts.literals` looks for between letters.
KEPT = " '/-"
_STRANGE = re.compile(r"[^\x00-\x7f\u4e00-\u9fff]")  # `shown` changes no other
_SPACED_CJK = re.compile(rf"(?<=[{CJK}])[{FILLERS}]{{1,3}}(?=[{CJK}])")
_SPACED_LETTERS = re.compile(
    r"(?<![a-z0-9])[a-z](?:([ .*_·-])[a-z](?=\1)){2,60}\1[a-z](?![a-z])", re.I
)


@dataclass(frozen=True, slots=True)
class Plain:
    """Normalised text; character i of it came from character `origin[i]` of the original."""

    text: str
    origin: Sequence[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return a match's place in the original text."""
        return self.origin[start], self.origin[end - 1] + 1


def plain(text: str, spaced_out: bool = True) -> Plain:
    """Undo the disguises of a text; it may be known to hold no word that is `spaced_out`.

    >>> plain("稳 赚\u200b不 赔，ｇｏｌｄ").text
    '稳赚不赔,gold'
    """
    changed = {c: s for c in set(_STRANGE.findall(text)) if (s := shown(c)) != c}
    folded = text
    for char, looks in changed.items():  # what one looks like no other changes again
        folded = folded.replace(char, looks)
    spaced = spaced_out and (_SPACED_CJK.search(folded) or _SPACED_LETTERS.search(folded))
    if not spaced and set(map(len, changed.values())) <= {1}:  # as nearly always
        return Plain(folded, range(len(folded)))
    parts = [changed.get(char, char) for char in text]
    pairs = [(looks, at) for at, part in enumerate(parts) for looks in part]
    kept = [True] * len(folded)
    for gap in _SPACED_CJK.finditer(folded):
        kept[gap.start() : gap.end()] = [False] * (gap.end() - gap.start())
    for word in _SPACED_LETTERS.finditer(folded):
        for at in range(word.start() + 1, word.end(), 2):
            kept[at] = False
    rest = [pair for pair, keep in zip(pairs, kept, strict=True) if keep]
    return Plain("".join(looks for looks, _ in rest), [at for _, at in rest])


@lru_cache(maxsize=8192)
def shown(char: str) -> str:
    """Return what a character looks like, nothing where it can't be seen."""
    if char.isascii() or "\u4e00" <= char <= "\u9fff":
        return char
    folded = unicodedata.normalize("NFKC", char)
    return "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Mn", "Me"))
