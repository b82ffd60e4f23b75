"""Who stands where in a packed row, and who sees whom: prompts, completions, what prompts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# Share of a row's tokens that a common beginning has to spare: attention gathers it piece by piece.
_WORTH = 0.05


@dataclass(frozen=True)
class Group:
    """Token ids of a prompt, not empty, and of the completions that continue it."""

    prompt: Sequence[int]
    completions: Sequence[Sequence[int]]

    @property
    def tokens(self) -> int:
        """Tokens that it takes in a row, at most: other groups may begin alike."""
        return len(self.prompt) + sum(map(len, self.completions))


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


@dataclass(frozen=True)
class Row:
    """Groups as one row: its tokens, and where the states stand that predict its completions."""

    ids: Tensor
    positions: Tensor
    layout: Layout
    predictors: Tensor
    last: Tensor


def row_of(groups: Sequence[Group], device: torch.device) -> Row:
    """What all prompts begin with, then each prompt's rest and its completions.

    Positions go on from where that ends which a token continues.
    """
    common = common_start(groups)
    ids = list(groups[0].prompt[:common])
    positions = list(range(common))
    above = ((0, common),) if common else ()
    pieces = [Piece(start, stop) for start, stop in above]
    predictors: list[int] = []
    last: list[int] = []
    for group in groups:
        start, size = len(ids), len(group.prompt)
        if not size:
            raise ValueError("a prompt has no token, so nothing predicts a completion's first one")
        ids += group.prompt[common:]
        positions += range(common, size)
        end = len(ids)
        for number, completion in enumerate(group.completions):
            at = len(ids)
            ids += completion
            positions += range(size, size + len(completion))
            if completion:
                predictors += [end - 1, *range(at, len(ids) - 1)]
            last.append(len(ids) - 1 if completion else end - 1)
            if number == 0:
                pieces.append(Piece(start, len(ids), above))
            elif completion:
                pieces.append(Piece(at, len(ids), (*above, (start, end))))
        if not group.completions:
            pieces.append(Piece(start, len(ids), above))
    return Row(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        Layout(tuple(pieces)),
        torch.tensor(predictors, device=device),
        torch.tensor(last, device=device),
    )


def common_start(groups: Sequence[Group]) -> int:
    """How many first tokens all prompts share, such as a system prompt's; 0 if too few to matter.

    Each prompt keeps one of its own.
    """
    shortest = min(len(g.prompt) for g in groups)
    first, count = groups[0].prompt, 0
    while count < shortest - 1 and all(g.prompt[count] == first[count] for g in groups):
        count += 1
    spared = count * (len(groups) - 1)
    return count if spared >= _WORTH * sum(g.tokens for g in groups) else 0
