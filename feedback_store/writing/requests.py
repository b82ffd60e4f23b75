"""Requests that are sent again: one key has one body and one answer, for as long as it is kept."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select

from feedback_store.errors import Conflict, Refused
from feedback_store.pseudonyms import Pseudonyms
from feedback_store.storage.tables import requests
from feedback_store.writing.intake import Row, under_pseudonym

MAX_KEY = 255


class Request(NamedTuple):
    """An idempotency key and a body, both as keyed hashes: neither is to be read in the store."""

    key: str
    body: str


def request(pseudonyms: Pseudonyms, key: str, body: object) -> Request:
    """A request of plain JSON values under a client's key."""
    if not 1 <= len(key) <= MAX_KEY:
        raise Refused(f"an idempotency key has 1 to {MAX_KEY} characters, not {len(key)}")
    plain = json.dumps(body, sort_keys=True, ensure_ascii=True)
    return Request(
        key=pseudonyms.digest("request key", key.encode(errors="backslashreplace")),
        body=pseudonyms.digest("request body", plain.encode()),
    )


def said(rows: Sequence[Row], pseudonyms: Pseudonyms) -> list[dict[str, Any]]:
    """What the caller said in these rows; an id that it left out is another one each time."""
    return [
        row.model_dump(
            mode="json",
            exclude={"seq", "revision", "client_time"}
            | ({"id", "conversation"} - row.model_fields_set),
        )
        | under_pseudonym(row, pseudonyms)
        for row in rows
    ]


def answered(connection: Connection, request: Request, since: datetime) -> int | None:
    """The watermark that this request was answered with, if it was; `Conflict` on another body."""
    connection.execute(delete(requests).where(requests.c.created_at < since))
    found = connection.execute(select(requests).where(requests.c.key == request.key)).one_or_none()
    if found is None:
        return None
    if found.body != request.body:
        raise Conflict("this idempotency key was used for another body; take a new key")
    return int(found.watermark)


def remember(connection: Connection, request: Request, watermark: int, now: datetime) -> None:
    """Keep the answer for the next time."""
    connection.execute(
        requests.insert().values(**request._asdict(), watermark=watermark, created_at=now)
    )
