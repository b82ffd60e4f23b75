"""Any other JSON or CSV, by a mapping file that names its columns (`mapping.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feedback_store import Comparison, Feedback, Interaction
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.exchange.entry import Entry, Origin, Row, model_name, moment, person
from rlhf.exchange.from_records import record_of
from rlhf.exchange.mapping import Mapping, value_of

_CHOICES = ("a", "b", "tie", "both_bad")


def mapped(row: Row, origin: Origin) -> Entry:
    """One row: an answer with what was said of it, or two answers and a choice."""
    get = _Getter(row, origin.mapping)
    if get.has("chosen") or get.has("rejected"):
        return _compared(get, origin, "chosen", "rejected", "a")
    if get.has("a") or get.has("b"):
        choice = get("choice")
        if choice not in _CHOICES:
            raise DataError(f"`choice` is none of {', '.join(_CHOICES)}; map it under `values`")
        return _compared(get, origin, "a", "b", choice)
    answer = _answer(get, origin, "response")
    return Entry((answer,), tuple(_votes(get, answer, origin)))


class _Getter:
    """A row's fields by our names."""

    def __init__(self, row: Row, mapping: Mapping) -> None:
        self._row = row
        self._mapping = mapping

    def __call__(self, name: str) -> Any:
        return value_of(self._row, name, self._mapping)

    def has(self, name: str) -> bool:
        return getattr(self._mapping.fields, name) is not None

    def talk(self, name: str) -> Any:
        """Text, or messages under the names that are usual."""
        found = self(name)
        turns = self._mapping.turns
        return [turns.renamed(turn) for turn in found] if isinstance(found, list) else found


def _answer(get: _Getter, origin: Origin, name: str) -> Interaction:
    record = _record(get, name)
    consent = get("consent")
    if consent is not None and not isinstance(consent, bool):
        raise DataError("`consent` is neither true nor false; map it under `values`")
    tool = get("id")
    group = get("conversation") or record.conversation
    return origin.interaction(
        conversation=origin.id("conversation", group),
        messages=record.prompt,
        response=record.completion,
        style_asked=record.style,
        intent=record.intent,
        policy=model_name(get("policy")),
        user=person(get("user")),
        created_at=moment(get("time")),
        consent=origin.consent if consent is None else consent,
        named=None if tool is None else origin.id("row", tool, name, record.completion),
    )


def _record(get: _Getter, name: str) -> Record:
    about = {"style": get("style"), "intent": get("intent")}
    if name == "response" and get.has("messages"):
        return record_of({"messages": get.talk("messages"), **about})
    prompt, completion = get.talk("prompt"), get.talk(name)
    for what, found in (("prompt", prompt), (name, completion)):
        if found is None:
            raise DataError(f"has nothing where the mapping looks for `{what}`")
    return record_of({"prompt": prompt, "completion": completion, **about})


def _compared(get: _Getter, origin: Origin, first: str, second: str, choice: str) -> Entry:
    a, b = _answer(get, origin, first), _answer(get, origin, second)
    voter = person(get("voter")) or origin.voter
    vote: Comparison = origin.comparison(
        id=origin.id("choice", get("id"), str(get("time")), a.id, b.id, voter, choice),
        a=a.id,
        b=b.id,
        voter=voter,
        choice=choice,
        created_at=moment(get("time")),
    )
    return Entry((a, b), (), (vote,))


def _votes(get: _Getter, answer: Interaction, origin: Origin) -> Iterator[Feedback]:
    voter = person(get("voter")) or origin.voter
    about = {"interaction": answer.id, "voter": voter, "created_at": moment(get("time"))}
    thumbs = 0
    for kind in ("thumb", "rating", "comment", "correction"):
        given = get(kind)
        if given is None:
            continue
        thumbs += kind == "thumb"
        named = origin.id(kind, get("id"), str(get("time")), answer.id, voter, given)
        said = {"text": given} if kind in ("comment", "correction") else {"value": _number(given)}
        yield origin.feedback(id=named, kind=kind, **said, **about)
    if origin.liked and not thumbs:
        yield origin.thumb(answer, True, voter)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        return 1.0 if value else -1.0
    if isinstance(value, str):  # CSV knows only text
        try:
            value = float(value)
        except ValueError:
            raise DataError("a vote is no number; map it under `values`") from None
    if not isinstance(value, int | float):
        raise DataError("a vote is no number; map it under `values`")
    return float(value)
