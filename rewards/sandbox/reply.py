"""What a stranger's process answers, read as what it is: any bytes at all."""

import json
from typing import Any

from rewards.running.outcome import Outcome, invalid, masked, read_scores
from rewards.sandbox.channel import Lost

_ROW_BYTES, _SPARE_BYTES = 1600, 65536  # a reason of 200 characters, each written as \\uXXXX
_REASON_CHARS = 250


def largest(rows: int) -> int:
    """How many bytes the honest answer to so many rows can have."""
    return _SPARE_BYTES + rows * _ROW_BYTES


def read_answer(line: bytes, wanted: str) -> dict[str, Any]:
    """The answer to the request of that id. Raises Lost for anything else."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise Lost("its answer is no JSON") from None
    # An answer that was written before the question can't know the question's id.
    if not isinstance(answer, dict) or answer.get("id") != wanted:
        raise Lost("its answer belongs to no question")
    return answer


def read_rows(answer: dict[str, Any], rows: int, *texts: object) -> list[Outcome]:
    """One outcome a row; `texts` are the rows' words, which no reason may repeat."""
    given = answer.get("rows")
    if not isinstance(given, list) or len(given) != rows:
        return invalid(rows, f"its answer is not {rows} scores")
    reasons: dict[str, str] = {}
    return [_read_row(row, reasons, texts) for row in given]


def _read_row(row: Any, reasons: dict[str, str], texts: tuple[object, ...]) -> Outcome:
    match row:
        case [value, "ok", None]:
            return read_scores([value], 1)[0]
        case [None, "none", None]:
            return Outcome(None, "none")
        case [None, "invalid", str(reason)]:
            if reason not in reasons:
                reasons[reason] = clean(reason, *texts)
            return Outcome(None, "invalid", reasons[reason])
    return Outcome(None, "invalid", "its answer is not a score")


def clean(text: object, *texts: object) -> str:
    """One short line without control characters and without the rows' words."""
    line = "".join(char if char.isprintable() else " " for char in str(text)[:_REASON_CHARS])
    return masked(line, *texts) or "no reason given"
