"""Who stands where in a packed row, and who sees whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Piece:
    """Tokens `start:stop` of a row, which attend to themselves and to earlier spans of the row.

    Those are what all prompts begin with, and the prompt; a prompt stands in one piece with its
    first completion.
    """

    start: int
    stop: int
    shared: tuple[tuple[int, int], ...] = ()

    @property
    def before(self) -> int:
        """Tokens of the shared spans."""
        return sum(stop - start for start, stop in self.shared)


@dataclass(frozen=True)
class Layout:
    """The pieces of one row, which they fill, and what is made of them once for all layers."""

    pieces: tuple[Piece, ...]
    made: dict[Any, Any] = field(default_factory=dict)

    def remembered(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]
