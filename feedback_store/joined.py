"""Many texts read at once: their characters in one array, and what each of them is in one table.

Most texts hold nothing of what a rule looks for. A `Joined` says so for thousands with a few
passes over memory, so that a rule reads only the others.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Kinds = NDArray[np.uint16]

_COUNT = 0x110000


class Joined:
    """Texts one after the other, each followed by a line end: text r is [starts[r], ends[r])."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        sizes = np.fromiter(map(len, texts), np.intp, len(texts))
        bounds = np.zeros(len(texts) + 1, np.intp)
        np.cumsum(sizes + 1, out=bounds[1:])
        self.starts, self.ends = bounds[:-1], bounds[1:] - 1

    @cached_property
    def text(self) -> str:
        """All of it."""
        return "\n".join(chain(self.texts, ("",)))

    @cached_property
    def codes(self) -> NDArray[np.intp]:
        """All of it as code points, of the type that tables are looked up by."""
        code_points = self.text.encode("utf-32-le", "surrogatepass")
        return np.frombuffer(code_points, np.uint32).astype(np.intp)

    def kinds(self, table: Kinds) -> Kinds:
        """What each character is by a table of `kinds_of`; the line ends between texts, nothing."""
        found = table.take(self.codes)
        found[self.ends] = 0
        return found

    def held(self, kinds: Kinds) -> Kinds:
        """What is in each text, of all that its characters are."""
        found: Kinds = np.bitwise_or.reduceat(kinds, self.starts) if self.texts else kinds
        return found

    def with_any(self, at: Mask) -> Mask:
        """The texts that hold one of these places."""
        return self.held(at.view(np.uint8)).view(np.bool_)

    def count(self, at: Mask) -> NDArray[np.int32]:
        """How many of these places each text holds."""
        return np.add.reduceat(at, self.starts, dtype=np.int32)


def kinds_of(classes: Mapping[int, str], seen_as: Mapping[int, str] | None = None) -> Kinds:
    """A table over all code points of the bits whose character class, as of `re`, they are in.

    `seen_as` is as of `str.translate`, one character for one: what a character is taken for.
    """
    table = np.zeros(_COUNT, np.uint16)
    for bit, pattern in classes.items():
        for found in re.finditer(f"(?:{pattern})+", _characters()):
            table[found.start() : found.end()] |= np.uint16(bit)
    if seen_as:
        table[list(seen_as)] = table[[ord(char) for char in seen_as.values()]]
    return table


@lru_cache(maxsize=1)
def _characters() -> str:
    return "".join(map(chr, range(_COUNT)))


def next_to(left: Mask, right: Mask) -> Mask:
    """Places of `left` right behind which there is one of `right`."""
    found = np.zeros(len(left), np.bool_)
    np.logical_and(left[:-1], right[1:], out=found[:-1])
    return found
