"""What can go wrong with a reward, and who can put it right.

    RewardError            the user's configuration or code; one line says what to change
    ├── UnknownReward      no reward of that name, path or import
    ├── BadParameter       a parameter, rule file or column that the reward can't take
    └── TooManyInvalid     the rewards ran, but too few rows got a score to trust the step

A reward that raises on a row is none of these: its score is *invalid*, a value like any other,
and only `TooManyInvalid` turns many of them into an error.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RewardError(ValueError):
    """Base of every error that this package raises on purpose."""


class UnknownReward(RewardError):
    """A reference that leads to no reward."""


class BadParameter(RewardError):
    """A parameter's name or value, a rule or a column that the reward can't take."""


class TooManyInvalid(RewardError):
    """More rows of a batch lost their score than the caller allows."""

    def __init__(self, component: str, count: int, rows: int, reason: str) -> None:
        self.component, self.count, self.rows, self.reason = component, count, rows, reason
        super().__init__(
            f"reward {component!r}: {count} of {rows} rows have an invalid score; first: {reason}"
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of an error line: the nearest known word, or all of them."""
    choices = sorted(known)
    close = get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(choices)}" if choices else "it takes none"
