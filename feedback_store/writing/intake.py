"""What a caller hands in, made fit to be stored: under pseudonyms, redacted, believably dated."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from feedback_store.errors import Refused
from feedback_store.limits import Limits
from feedback_store.pseudonyms import Pseudonyms
from feedback_store.schema import Comparison, Feedback, Interaction

Row = TypeVar("Row", Interaction, Feedback, Comparison)


def proper(
    row: Row,
    pseudonyms: Pseudonyms,
    redact: Callable[[str], str],
    limits: Limits,
    now: datetime,
) -> Row:
    """The row without anybody's own id, personal data or a time its client can't have right."""
    stamps = under_pseudonym(row, pseudonyms)
    if not isinstance(row, Interaction) and not _believable(row.client_time, limits, now):
        stamps["client_time"] = None
    texts = _redacted(row, redact)
    if not texts:  # the usual row: one copy, and nothing to validate again
        return row.model_copy(update=stamps) if stamps else row
    try:  # a placeholder can be longer than what it stands for
        return type(row).model_validate(row.model_dump() | stamps | texts)
    except ValidationError as error:
        raise Refused(f"{row.id}: {error.errors()[0]['msg']} after redaction") from error


def refuse_the_future(row: Row, limits: Limits, now: datetime) -> None:
    """An import may bring its own times; one ahead of the clock would age all other rows."""
    if row.created_at and row.created_at > now + limits.client_lead:
        raise Refused(f"{row.id}: created_at {row.created_at} lies in the future")


def under_pseudonym(row: Row, pseudonyms: Pseudonyms) -> dict[str, Any]:
    """What to change in the row, so that nobody's own id is in it."""
    name = "user" if isinstance(row, Interaction) else "voter"
    id = getattr(row, name)
    return {} if id is None else {name: pseudonyms.of(id)}


def _believable(client_time: datetime | None, limits: Limits, now: datetime) -> bool:
    if client_time is None:
        return True
    return now - limits.client_lag <= client_time <= now + limits.client_lead


def _redacted(row: Row, redact: Callable[[str], str]) -> dict[str, Any]:
    """What to change; token ids would spell out what was taken from a response."""
    changed: dict[str, Any] = {}
    if isinstance(row, Interaction):
        contents = [redact(message.content) for message in row.messages]
        if contents != [message.content for message in row.messages]:
            changed["messages"] = [
                {"role": message.role, "content": content}
                for message, content in zip(row.messages, contents, strict=True)
            ]
        if (response := redact(row.response)) != row.response:
            changed |= {"response": response, "response_token_ids": None}
    elif isinstance(row, Feedback):
        if row.text and (text := redact(row.text)) != row.text:
            changed["text"] = text
        if row.reasons and (reasons := tuple(map(redact, row.reasons))) != row.reasons:
            changed["reasons"] = reasons
    return changed
