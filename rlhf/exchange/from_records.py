"""Records that training reads (`rlhf.data.records`) as entries of the store."""

from __future__ import annotations

from typing import Any

from rlhf.data.records import Record, parse_record
from rlhf.errors import DataError
from rlhf.exchange.entry import Entry, Origin, Row


def record_of(row: Row) -> Record:
    """The row's record; the reason it is refused stands alone, without file and line."""
    try:
        return parse_record(row, "row")
    except DataError as error:
        raise DataError(str(error).removeprefix("row: ")) from error


def entry_of(record: Record, origin: Origin) -> Entry:
    """Answers, with the vote or choice that the record's shape holds."""
    shared: dict[str, Any] = {
        "messages": record.prompt,
        "conversation": origin.id("conversation", record.conversation),
        "style_asked": record.style,
        "intent": record.intent,
    }
    if record.shape == "preference":
        chosen = origin.interaction(response=record.chosen, **shared)
        rejected = origin.interaction(response=record.rejected, **shared)
        return origin.pair(chosen, rejected)
    answer = origin.interaction(response=record.completion, **shared)
    if record.shape == "unpaired":
        return Entry((answer,), (origin.thumb(answer, bool(record.label)),))
    return Entry((answer,), (origin.thumb(answer, True),) if origin.liked else ())
