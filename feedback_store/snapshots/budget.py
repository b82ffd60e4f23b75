"""Which rows of a file are trained on, where there is room for some only."""

import heapq
import math

from feedback_store.snapshots.manifest import SnapshotRules
from feedback_store.snapshots.training_rows import Row


class Budget:
    """The newest rows and a weighted draw of the older ones, found in one pass.

    The draw takes the largest u^(1/weight), u being the row's own hash (Efraimidis and Spirakis
    2006, algorithm A-Res): weighted, without replacement, and the same for the same rows. Of as
    many rows as it keeps it holds a few numbers each.
    """

    def __init__(self, rules: SnapshotRules) -> None:
        self._window = rules.window
        self._replay = rules.replay
        self._seen = 0
        # Heaps whose first is the next to go: by youth and place, and by the draw and those.
        self._newest: list[tuple[int, int, float]] = []
        self._older: list[tuple[float, int, int]] = []

    def see(self, row: Row) -> None:
        """Let a row compete; every row of the file has to, once."""
        self._seen += 1
        if self._window is None:
            return
        rank = _rank(row)
        if len(self._newest) < self._window:
            heapq.heappush(self._newest, rank)
            return
        rank = heapq.heappushpop(self._newest, rank)
        if len(self._older) < self._replay:
            heapq.heappush(self._older, _drawn(rank))
        elif self._older:
            heapq.heappushpop(self._older, _drawn(rank))

    def keeps(self, row: Row) -> bool:
        """Whether a row is kept of all those that were seen."""
        if self._window is None or self._seen <= self._window:
            return True
        rank = _rank(row)
        if self._newest and rank >= self._newest[0]:
            return True
        return bool(self._older) and _drawn(rank) >= self._older[0]

    @property
    def kept(self) -> int:
        """How many rows are."""
        if self._window is None:
            return self._seen
        return len(self._newest) + len(self._older)

    @property
    def left_out(self) -> int:
        """How many rows aren't."""
        return self._seen - self.kept


def _rank(row: Row) -> tuple[int, int, float]:
    """The larger the newer; among rows of a day, the earlier in the file."""
    return -row.age, -int(row.place, 16), row.weight


def _drawn(rank: tuple[int, int, float]) -> tuple[float, int, int]:
    youth, place, weight = rank
    u = ((-place >> 208) + 1) / (2**48 + 1)  # the first 48 of the hash's 256 bits
    return math.log(u) / weight, youth, place
