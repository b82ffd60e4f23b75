"""What one score can be: a number, "does not apply", or invalid with a reason.

A failed score is never 0: zero is an opinion about the answer, a failure is none.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from rewards.texts.text import cjk_count

Made = TypeVar("Made", bound=tuple[Any, ...])
Status = Literal["ok", "none", "invalid"]

# Trainers hold rewards in float32, where anything larger turns into inf.
LARGEST = 3.4e38
_REASON_CHARS = 200
# So many characters in common with a row are taken for a quotation of it; a Chinese name has two.
_ECHO, _CJK_ECHO = 6, 2
_QUOTED = re.compile(r"'([^']{2,})'|\"([^\"]{2,})\"")


class Outcome(NamedTuple):
    """One row's score; `value` is None unless the status is "ok"."""

    value: float | None
    status: Status
    reason: str | None = None


class Outcomes(Sequence[Outcome]):
    """The outcomes of a batch by column: rows are made only for those who ask for one."""

    def __init__(
        self,
        values: Sequence[float | None],
        statuses: Sequence[Status],
        reasons: Sequence[str | None],
        numbers: NDArray[np.float64] | None = None,
    ) -> None:
        self.values, self.statuses, self.reasons = tuple(values), tuple(statuses), tuple(reasons)
        self.numbers = np.array(values, np.float64) if numbers is None else numbers
        """The values, NaN where there is none."""

    @overload
    def __getitem__(self, at: int) -> Outcome: ...
    @overload
    def __getitem__(self, at: slice) -> list[Outcome]: ...
    def __getitem__(self, at: int | slice) -> Outcome | list[Outcome]:
        if isinstance(at, slice):
            return list(self)[at]
        return Outcome(self.values[at], self.statuses[at], self.reasons[at])

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


class Failed(float):
    """NaN that says why: what a reward returns for one row that it could not score."""

    reason: str

    def __new__(cls, reason: str) -> "Failed":
        failed = super().__new__(cls, "nan")
        failed.reason = reason
        return failed


def made(kind: type[Made], *columns: Iterable[object]) -> list[Made]:
    """Return named tuples of columns; calling the class for each takes three times as long."""
    return list(map(tuple.__new__, repeat(kind), zip(*columns, strict=False)))


def by_column(outcomes: Sequence[Outcome]) -> Outcomes:
    """Return outcomes as columns."""
    if isinstance(outcomes, Outcomes):
        return outcomes
    values, statuses, reasons = zip(*outcomes, strict=True)
    return Outcomes(values, statuses, reasons)


def invalid(rows: int, reason: str) -> list[Outcome]:
    """Return the outcomes of a call that failed as a whole."""
    return [Outcome(None, "invalid", reason)] * rows


def read_scores(returned: object, rows: int) -> Sequence[Outcome]:
    """Turn what a reward returned into one outcome a row."""
    if isinstance(returned, str | bytes | Mapping) or not isinstance(returned, Iterable):
        return invalid(rows, f"returned {type(returned).__name__}, not a list of scores")
    values = list(islice(returned, rows + 1))  # an endless generator must not hang us
    if len(values) != rows:
        count = len(values) if len(values) < rows else f"more than {rows}"
        return invalid(rows, f"returned {count} scores for {rows} rows")
    if set(map(type, values)) == {float}:  # as nearly always
        numbers = np.array(values)
        ok: Status = "ok"
        if np.abs(numbers).max() <= LARGEST:
            return Outcomes(values, [ok] * rows, [None] * rows, numbers)
    return [_read_score(value) for value in values]


def _read_score(value: Any) -> Outcome:
    """Read one score; a bool counts as 1.0 or 0.0, as it does in TRL."""
    if value is None:
        return Outcome(None, "none")
    if isinstance(value, Failed):
        return Outcome(None, "invalid", value.reason)
    if isinstance(value, str | bytes):
        return Outcome(None, "invalid", f"score is a {type(value).__name__}, not a number")
    try:
        number = float(value)
    except Exception as error:  # `__float__` is the user's code, or numpy's, or torch's
        return Outcome(
            None,
            "invalid",
            f"score is a {type(value).__name__}, not a number ({type(error).__name__})",
        )
    if not abs(number) <= LARGEST:  # written so that NaN fails it too
        return Outcome(None, "invalid", f"score is {number}")
    return Outcome(number, "ok")


def describe(error: BaseException, *texts: object) -> str:
    """Say what was raised, its class and message, with all that quotes the rows taken out.

    `texts` are the values that the reward was given; reasons go to logs and reports, where
    users' words must not.
    """
    message = masked(str(error), *texts)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def masked(message: str, *texts: object) -> str:
    """Return the start of a message as one line, with all that quotes the texts taken out."""
    message = " ".join(message.split())[:_REASON_CHARS]
    haystack = "\n".join(_strings(texts))
    message = _QUOTED.sub(lambda m: "'…'" if (m[1] or m[2]) in haystack else m[0], message)
    return _mask_echoes(message, haystack)


def _mask_echoes(message: str, haystack: str) -> str:
    """Replace every run of characters that the rows hold as well."""
    hidden = [False] * len(message)
    for start in range(len(message)):
        size = _CJK_ECHO if cjk_count(message[start : start + _CJK_ECHO]) == _CJK_ECHO else _ECHO
        window = message[start : start + size]
        if len(window) == size and window in haystack:
            hidden[start : start + size] = [True] * size
    masked = "".join("\0" if hide else char for char, hide in zip(message, hidden, strict=True))
    return re.sub("\0+", "…", masked)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield " ".join(value.split())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value:
            yield from _strings(item)
