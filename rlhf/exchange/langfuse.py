"""Langfuse's traces, generations and scores: pages of its public API, or its interface's exports.

`GET /api/public/traces`, `/observations` and `/scores` (also v2 and v3) give pages
`{"data": [...], "meta": {...}}`; a page, an array of such rows and one row a line are all read, and
a trace with its `observations` and `scores` within. A score speaks of a trace or an observation by
id, so import those first, or from the same file.

What a score's name means is the user's to say (`hallucination: 0` is praise). Unless a mapping says
more, only scores named as user feedback are votes; a number or truth value under another name is
kept as a signal that nothing learns from, a text as a comment, a correction as a correction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feedback_store import Feedback, Interaction
from rlhf.data.columns import at
from rlhf.errors import DataError
from rlhf.exchange.entry import (
    Entry,
    Origin,
    Row,
    asked,
    content,
    messages,
    model_name,
    moment,
    person,
)
from rlhf.exchange.mapping import ScoreRule

USER_FEEDBACK = ("user-feedback", "user_feedback", "userFeedback", "feedback", "thumbs", "thumb")
_THUMBS = ScoreRule(kind="thumb", values={"1": 1, "0": -1, "-1": -1, "True": 1, "False": -1})
_KINDS = {"TEXT": "comment", "CATEGORICAL": "comment", "CORRECTION": "correction"}
_ASKS = ("question", "query", "prompt", "input", "text", "content")
_SAYS = ("answer", "response", "output", "completion", "text", "content")


def langfuse_rows(value: Any) -> Iterator[Any]:
    """A row; after a trace, its own observations and scores."""
    yield value
    if isinstance(value, dict) and "traceId" not in value:
        for name in ("observations", "scores"):
            inner = value.get(name)
            for row in inner if isinstance(inner, list) else ():
                if isinstance(row, dict):  # a list of traces only names them
                    own = {"traceId": value.get("id"), "trace": {"userId": value.get("userId")}}
                    yield own | row


def langfuse(row: Row, origin: Origin) -> Entry:
    """One trace, observation or score."""
    if "name" in row and ("source" in row or "dataType" in row) and "startTime" not in row:
        return Entry((), tuple(_words(row, origin)))
    if "startTime" in row and row.get("type") != "GENERATION":
        raise DataError("is a step of a trace and no generation: nobody was answered by it")
    if "input" in row or "output" in row:
        return Entry((_answer(row, origin),))
    raise DataError("is no trace, generation or score of Langfuse")


def _answer(row: Row, origin: Origin) -> Interaction:
    kind = "observation" if "startTime" in row else "trace"
    trace = row.get("traceId") if kind == "observation" else row.get("id")
    fields = origin.mapping.fields
    prompt = at(row, fields.prompt) if fields.prompt else row.get("input")
    response = at(row, fields.response) if fields.response else row.get("output")
    latency = row.get("latency")
    seconds = latency if isinstance(latency, int | float) and latency > 0 else None
    return origin.interaction(
        named=origin.id(kind, _named(row.get("id"))),
        conversation=origin.id("session", row.get("sessionId") or trace),
        messages=asked(_asked(prompt), "input"),
        response=_said(response),
        policy=model_name(row.get("model") or row.get("version")),
        user=person(row.get("userId")),
        created_at=moment(row.get("startTime") or row.get("timestamp")),
        latency_ms=None if seconds is None else float(seconds) * 1000,
    )


def _named(id: Any) -> str:
    if not isinstance(id, str) or not id:
        raise DataError("has no `id`")
    return id


def _asked(value: Any) -> list[dict[str, str]]:
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        return messages(value, "input")
    if isinstance(value, dict):
        if "messages" in value:
            return messages(value["messages"], "input.messages")
        for key in _ASKS:
            if isinstance(value.get(key), str):
                return [{"role": "user", "content": value[key]}]
    raise DataError("`input` holds no prompt that is known; name its path in a mapping")


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        return _said(value[-1])
    if isinstance(value, dict):
        if isinstance(value.get("choices"), list) and value["choices"]:
            return _said(value["choices"][0])
        if isinstance(value.get("message"), dict):
            return _said(value["message"])
        if value.get("role") == "assistant":
            return content(value.get("content"), "output")
        for key in _SAYS:
            if isinstance(value.get(key), str):
                return str(value[key])
    raise DataError("`output` holds no answer that is known; name its path in a mapping")


def _words(row: Row, origin: Origin) -> Iterator[Feedback]:
    name = str(row["name"])
    rule = origin.mapping.scores.get(name) or (_THUMBS if name in USER_FEEDBACK else None)
    about = {
        "interaction": _subject(row, origin),
        "voter": _voter(row, origin),
        "simulated": origin.simulated or row.get("source") == "EVAL",
        "created_at": moment(row.get("updatedAt") or row.get("timestamp")),
    }
    revision = (_named(row.get("id")), row.get("updatedAt") or row.get("timestamp"))
    said = rule.said(row) if rule else _unmapped(row)
    if said is None:
        raise DataError(f"the mapping skips scores named {name[:40]!r}")
    if said["kind"] == "implicit":  # several of them speak of one answer, each for itself
        about["voter"] = origin.id("scored by", name, about["voter"])
    yield origin.feedback(id=origin.id("score", *revision, said), **said, **about)
    comment = row.get("comment")
    if isinstance(comment, str) and comment.strip() and said["kind"] not in ("comment",):
        named = origin.id("comment", *revision, comment)
        yield origin.feedback(id=named, kind="comment", text=comment, **about)


def _unmapped(row: Row) -> dict[str, Any]:
    value, text = row.get("value"), row.get("stringValue")
    kind = _KINDS.get(str(row.get("dataType")))
    if kind:
        return {"kind": kind, "text": text if isinstance(text, str) else value}
    if isinstance(value, bool | int | float):
        return {"kind": "implicit", "value": float(value)}
    raise DataError("a score's `value` must be a number")


def _subject(row: Row, origin: Origin) -> str:
    """The interaction that a score speaks of; v3 names it in `subject`."""
    subject = row.get("subject")
    if isinstance(subject, dict):
        kind, id = subject.get("kind"), subject.get("id")
        if kind in ("trace", "observation"):
            return origin.id(kind, _named(id))
    elif isinstance(row.get("observationId"), str):
        return origin.id("observation", row["observationId"])
    elif isinstance(row.get("traceId"), str):
        return origin.id("trace", row["traceId"])
    raise DataError("scores a session or a run, not an answer")


def _voter(row: Row, origin: Origin) -> str:
    if row.get("source") == "EVAL":
        return "langfuse-eval"
    trace = row.get("trace")
    user = trace.get("userId") if isinstance(trace, dict) else None
    return person(row.get("authorUserId") or user) or origin.voter
