"""The kinds of value that a record may hold, and what is refused in each."""

import json
import re
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    Strict,
    StringConstraints,
)

MAX_TEXT = 200_000
MAX_JSON = 4_000_000

# PostgreSQL can't store NUL, no encoder takes a lone surrogate, and the other control characters
# only serve to confuse terminals and log readers.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

# NUL as JSON writes it (and not the six characters of an escaped backslash), or a surrogate.
_ODD_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000|[\ud800-\udfff]")


def printable(text: str) -> str:
    """The text without the characters that a record refuses: a sampled token can be any byte."""
    return _UNPRINTABLE.sub("", text)


def _refuse_unprintable(text: str) -> str:
    if found := _UNPRINTABLE.search(text):
        raise ValueError(f"character {found[0]!r} at {found.start()} can't be stored")
    return text


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} lies outside the calendar") from None


def _plain_json(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if len(text) > MAX_JSON:
        raise ValueError(f"{len(text)} characters of JSON, at most {MAX_JSON} are stored")
    if found := _ODD_IN_JSON.search(text):
        raise ValueError(f"character {found[0]!r} at {found.start()} can't be stored")
    return value


def new_id() -> str:
    """A fresh random id."""
    return uuid4().hex


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[\w.:+/ -]{1,64}$")]
Short = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_refuse_unprintable)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_refuse_unprintable)]
Number = Annotated[float, Strict(), Field(ge=-1e15, le=1e15)]
Count = Annotated[int, Strict(), Field(ge=0, lt=2**31)]
Flag = Annotated[bool, Strict()]
Seq = Annotated[int, Strict(), Field(ge=1, lt=2**63)]
Probability = Annotated[float, Strict(), Field(gt=0, le=1)]
Utc = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Document = Annotated[dict[str, JsonValue], AfterValidator(_plain_json)]


class Record(BaseModel):
    """A value: frozen, unknown fields refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
