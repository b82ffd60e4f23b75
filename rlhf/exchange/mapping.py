"""The mapping file: which columns of a foreign row are which of our fields.

    fields: {prompt: question, response: answer.text, voter: by, thumb: verdict}
    values: {thumb: {good: 1, bad: -1}}
    defaults: {style: formal}

Every key is documented in `docs/exchange.md`; a test keeps the two together.
"""

from __future__ import annotations

from pathlib import Path as File
from typing import Any, Literal

from pydantic import Field

from rlhf.config import Settings, load, validate
from rlhf.data.columns import Path, Turns, Value, at, spelled, valued
from rlhf.errors import DataError


class Fields(Settings):
    """Where in a row our fields are; all may be left out."""

    prompt: Path | None = None
    """What was asked: text (`用户:`/`User:` begin turns) or a list of messages."""
    response: Path | None = None
    """What was answered: text, or a list with one message."""
    messages: Path | None = None
    """The whole dialogue; its last turn is the answer. Instead of prompt and response."""
    chosen: Path | None = None
    """The better answer; with `rejected`, instead of response."""
    rejected: Path | None = None
    """The worse answer."""
    a: Path | None = None
    """One of two answers that `choice` chooses between."""
    b: Path | None = None
    """The other of them."""
    choice: Path | None = None
    """`a`, `b`, `tie` or `both_bad`, after `values.choice`."""
    thumb: Path | None = None
    """1 or -1 (true and false are read so too), after `values.thumb`."""
    rating: Path | None = None
    """A number from 1 to 5, after `values.rating`."""
    comment: Path | None = None
    """What somebody wrote about the answer."""
    correction: Path | None = None
    """What the answer should have been."""
    voter: Path | None = None
    """Who voted."""
    user: Path | None = None
    """Who asked."""
    id: Path | None = None
    """The other tool's id of the row: a changed row of the same id is a changed mind."""
    conversation: Path | None = None
    """What groups the turns of one conversation."""
    style: Path | None = None
    """The style that was asked for."""
    intent: Path | None = None
    """What the user wanted."""
    policy: Path | None = None
    """The model's name."""
    consent: Path | None = None
    """Whether the row may be trained on: true or false, after `values.consent`."""
    time: Path | None = None
    """When: ISO 8601, or seconds or milliseconds since 1970."""


class ScoreRule(Settings):
    """What Langfuse's scores of one name mean."""

    kind: Literal["thumb", "rating", "implicit", "comment", "correction", "skip"]
    """What they become; `skip` refuses them."""
    metric: str | None = None
    """Under which metric; by itself, the kind's."""
    values: dict[str, float] = Field(default_factory=dict)
    """The number for each value; what is not named is refused. Empty: the value itself."""

    def said(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """The vote's kind, metric and value or text; None for what is skipped."""
        if self.kind == "skip":
            return None
        named = {"metric": self.metric} if self.metric else {}
        text = row.get("stringValue")
        given = text if isinstance(text, str) and row.get("value") is None else row.get("value")
        if self.kind in ("comment", "correction"):
            return {"kind": self.kind, "text": text if isinstance(text, str) else given, **named}
        return {"kind": self.kind, "value": _number(self.values, given, text), **named}


def _number(values: dict[str, float], given: Any, text: Any) -> float:
    if values:
        for key in (spelled(given), spelled(text)):
            if key in values:
                return float(values[key])
        raise DataError("a value has no meaning yet: add it to the mapping's `values`")
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise DataError("a value is no number: say in the mapping what it means")
    return float(given)


class Mapping(Settings):
    """A mapping file."""

    rows: Path | None = None
    """Where in each JSON value the list of rows is, if not the value itself is one."""
    fields: Fields = Fields()
    """Which columns are which of our fields."""
    values: dict[str, dict[str, Value]] = Field(default_factory=dict)
    """By field: a column's values, and what they mean here. A value that is missing stays."""
    defaults: dict[str, Value] = Field(default_factory=dict)
    """By field: what holds where a row says nothing."""
    turns: Turns = Turns()
    """How lists of messages name their parts."""
    scores: dict[str, ScoreRule] = Field(default_factory=dict)
    """Langfuse only, by the score's name: what its scores mean."""

    @property
    def path_to_rows(self) -> list[str]:
        """`rows` as keys."""
        given = self.rows or []
        return given.split(".") if isinstance(given, str) else list(map(str, given))


def load_mapping(path: File) -> Mapping:
    """A mapping from YAML; raises `UsageError` naming the key that is wrong."""
    return validate(Mapping, load(path), str(path))


def value_of(row: Any, name: str, mapping: Mapping) -> Any:
    """A field's value in a row, mapped, or its default."""
    path = getattr(mapping.fields, name)
    found = at(row, path) if path is not None else None
    return valued(found, name, mapping.values, mapping.defaults)
