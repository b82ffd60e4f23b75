"""Which rows of the scores a vote is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlhf.data.records import Record
from rlhf.lab.accuracy import Floats, Ints, numbered
from rlhf.lab.mix import answers_of


@dataclass(frozen=True)
class Pairs:
    """Votes for one of two answers; arrays are `[pairs]`."""

    records: list[Record]
    chosen: Ints
    rejected: Ints
    weights: Floats
    groups: Ints
    """Numbers of their conversations."""

    def differences(self, scores: Floats) -> Floats:
        """Chosen minus rejected of scores `[answers, …]`."""
        return np.asarray(scores[self.chosen] - scores[self.rejected])


@dataclass(frozen=True)
class Thumbs:
    """Votes for or against one answer; arrays are `[votes]`."""

    records: list[Record]
    at: Ints
    up: npt.NDArray[np.bool_]
    weights: Floats
    groups: Ints


def lay_out(records: Sequence[Record]) -> tuple[Pairs, Thumbs]:
    """The votes among records, by the places of `answers_of(records)`."""
    answers = answers_of(records)
    groups = numbered([record.conversation for record in records])
    group_of = {id(r): g for r, g in zip(records, groups.tolist(), strict=True)}
    chosen = [i for i, a in enumerate(answers) if a.name == "chosen"]
    single = [i for i, a in enumerate(answers) if a.record.shape == "unpaired"]

    def column(places: Sequence[int]) -> tuple[list[Record], Floats, Ints]:
        told = [answers[i].record for i in places]
        weights = np.array([r.weight for r in told], dtype=np.float64)
        return told, weights, np.array([group_of[id(r)] for r in told], dtype=np.int64)

    told, weights, of = column(chosen)
    first = np.array(chosen, dtype=np.int64)
    pairs = Pairs(told, first, first + 1, weights, of)
    told, weights, of = column(single)
    up = np.array([bool(r.label) for r in told], dtype=bool)
    return pairs, Thumbs(told, np.array(single, dtype=np.int64), up, weights, of)
