"""TRL's shapes, as text or conversations: prompt and completion, preference, unpaired preference.

See `dataset_formats.md` of TRL. A preference's prompt may be implicit: what both conversations
share before the last answer.
"""

from __future__ import annotations

from rlhf.errors import DataError
from rlhf.exchange.entry import Entry, Origin, Row
from rlhf.exchange.from_records import entry_of, record_of

_UNSUPPORTED = {
    "labels": "stepwise supervision has no place here",
    "text": "plain text has no prompt and no answer",
}


def trl(row: Row, origin: Origin) -> Entry:
    """One row of any of the shapes."""
    if "chosen" not in row and "completion" not in row and "messages" not in row:
        for key, why in _UNSUPPORTED.items():
            if key in row:
                raise DataError(f"{why}: `{key}`")
        if "prompt" in row:
            raise DataError("a prompt without an answer holds nothing that was voted on")
    if "label" in row and not isinstance(row["label"], bool):
        raise DataError("`label` must be true or false")
    return entry_of(record_of(row), origin)
