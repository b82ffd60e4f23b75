"""What one row of a foreign file becomes in the store, and what all rows of an import share."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from feedback_store import Comparison, Feedback, Interaction, printable
from rlhf.errors import DataError
from rlhf.exchange.mapping import Mapping
from rlhf.files import canonical_json

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_MAX_REASON = 300


@dataclass(frozen=True)
class Entry:
    """Records that go in together or not at all."""

    interactions: tuple[Interaction, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True)
class Origin:
    """Where rows come from and what is said of all of them."""

    format: str
    project: str = "default"
    voter: str = "import"
    """Whose votes they are where a row doesn't say."""
    liked: bool = False
    """Whether an answer without a vote counts as up-voted: someone chose it as an example."""
    consent: bool = True
    """Whether it may be trained on, where a row doesn't say."""
    simulated: bool = False
    """Whether the votes are a model's or a program's."""
    mapping: Mapping = field(default_factory=Mapping)

    def id(self, *parts: Any) -> str:
        """An id that the same content always gets, so that a second import finds it."""
        text = canonical_json([self.project, self.format, *parts])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def interaction(self, *, named: str | None = None, **fields: Any) -> Interaction:
        """An interaction of this project; its id is `named` or comes from what it says."""
        fields = {"consent": self.consent, "simulated": self.simulated, **fields}
        body = {k: v for k, v in fields.items() if k not in ("consent", "created_at")}
        own = {"id": named or self.id("interaction", body), "project": self.project}
        return Interaction.model_validate(own | fields)

    def thumb(self, answer: Interaction, up: bool, voter: str | None = None) -> Feedback:
        """An up or down vote that has no id and no time of its own."""
        voter = voter or self.voter
        value = 1.0 if up else -1.0
        named = self.id("thumb", answer.id, voter, value)
        return self.feedback(
            id=named, interaction=answer.id, voter=voter, kind="thumb", value=value
        )

    def feedback(self, **fields: Any) -> Feedback:
        """Somebody's word on an interaction."""
        return Feedback.model_validate({"simulated": self.simulated, **fields})

    def comparison(self, **fields: Any) -> Comparison:
        """Somebody's choice between two interactions."""
        return Comparison.model_validate(
            {"project": self.project, "simulated": self.simulated, **fields}
        )

    def pair(self, chosen: Interaction, rejected: Interaction) -> Entry:
        """Two answers and the choice of the first."""
        named = self.id("choice", chosen.id, rejected.id, self.voter)
        choice = self.comparison(id=named, a=chosen.id, b=rejected.id, voter=self.voter, choice="a")
        return Entry((chosen, rejected), (), (choice,))


Row = dict[str, Any]
Importer = Callable[[Row, Origin], Entry]


def reason(error: Exception) -> str:
    """Why a row is refused, in one line without line breaks and control characters."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        text = f"{place}: {first['msg']}" if place else first["msg"]
    text = printable(" ".join(text.split()))
    return text if len(text) <= _MAX_REASON else text[:_MAX_REASON] + "…"


def person(value: Any) -> str | None:
    """A voter's or user's id as the store takes it: itself, or (an e-mail address, say) a hash."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"a voter's id must be text, found {type(value).__name__}")
    text = str(value)
    if _ID.fullmatch(text):
        return text
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def model_name(value: Any) -> str | None:
    """A model's name as an id: `openai/gpt-4o` becomes `openai-gpt-4o`."""
    if not isinstance(value, str) or not value.strip():
        return None
    return re.sub(r"[^A-Za-z0-9._:-]", "-", value.strip())[:128]


def moment(value: Any) -> datetime | None:
    """A time from ISO 8601 text (UTC where it names no zone) or seconds or milliseconds."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if re.fullmatch(r"\d{9,14}(\.\d{1,6})?", value):
            return moment(float(value))
        try:
            read = datetime.fromisoformat(value)
        except ValueError as error:
            raise DataError("a time must be ISO 8601 or seconds since 1970") from error
        return read if read.tzinfo else read.replace(tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"a time must be text or a number, found {type(value).__name__}")
    seconds = value / 1000 if abs(value) > 1e11 else value
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise DataError("a time lies outside the calendar") from error


def messages(value: Any, name: str) -> list[dict[str, str]]:
    """Chat turns as the store takes them: `developer` is a system turn, text parts are joined."""
    if not isinstance(value, list) or not value:
        raise DataError(f"`{name}` must be a list of messages")
    return [_message(message, name) for message in value]


def _message(message: Any, name: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise DataError(f"`{name}` holds something that is no message")
    role = {"developer": "system"}.get(str(message.get("role")), message.get("role"))
    if role not in ("system", "user", "assistant"):
        raise DataError(f"`{name}` holds a turn of {str(role)[:20]!r}; only people and models here")
    if message.get("tool_calls") or message.get("function_call"):
        raise DataError(f"`{name}` holds a tool call, which can't be trained on here")
    return {"role": role, "content": content(message.get("content"), name)}


def content(value: Any, name: str) -> str:
    """A message's text: a string, or parts of type text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(_is_text(part) for part in value):
        return "\n".join(part["text"] for part in value)
    raise DataError(f"`{name}` holds a content that is not text")


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def asked(turns: Sequence[dict[str, str]], name: str) -> list[dict[str, str]]:
    """The turns, checked to end with a user's: what an answer can follow."""
    if not turns or turns[-1]["role"] != "user":
        raise DataError(f"`{name}` must end with the user's turn")
    return list(turns)
