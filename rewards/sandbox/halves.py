"""A crash or a hang costs the row that brings it about, and not those that were sent with it."""

from collections import deque
from collections.abc import Callable

from rewards.running.outcome import Outcome, invalid
from rewards.sandbox.channel import Lost

_HOPELESS = 7  # the whole, its halves and its quarters


def by_halves(score: Callable[[int, int], list[Outcome]], rows: int) -> list[Outcome]:
    """Score the rows from `start` to `stop`, and where they are Lost, their halves in turn.

    There are tries enough to find two such rows among many. A reward that fails on every part, down
    to the quarters, fails on every row.
    """
    outcomes = invalid(rows, "was not scored")
    tried, scored, waiting = 0, 0, deque([(0, rows)])
    while waiting:
        start, stop = waiting.popleft()
        tried += 1
        try:
            outcomes[start:stop] = score(start, stop)
            scored += stop - start
        except Lost as lost:
            outcomes[start:stop] = invalid(stop - start, str(lost))
            most = most_tries(rows) if scored else _HOPELESS
            if stop - start > 1 and tried + len(waiting) + 2 <= most:
                middle = (start + stop) // 2
                waiting.extend([(start, middle), (middle, stop)])
    return outcomes


def most_tries(rows: int) -> int:
    """How often a reward is called, and started anew, for one batch."""
    return 4 * rows.bit_length() + 2
