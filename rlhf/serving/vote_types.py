"""Votes as they come over HTTP, and what is said back.

A client says what somebody thinks of an answer; policy, style, sampling and whether the vote was
asked for are the server's record of the answer, and no field here could change them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    Strict,
    StringConstraints,
    ValidationError,
)

from feedback_store import Comparison, Feedback, Metrics, NotFound, Refused, printable
from feedback_store.schema import Kind
from rlhf.serving.bodies import Body

InteractionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[\w.:+/ -]{1,64}$")]
Voter = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Reason = Annotated[str, StringConstraints(max_length=1_000)]
Moment = Annotated[AwareDatetime, Strict(False)]
MAX_BATCH = 1_000


class Vote(Body):
    """What somebody thinks of one answer, under one metric."""

    value: float | None = Field(default=None, ge=-1e15, le=1e15)
    """A thumb's 1 or -1, a rating within its metric's range, an implicit signal's number."""
    text: Annotated[str, StringConstraints(max_length=200_000)] | None = None
    """A comment, or a correction: the answer as it should have been."""
    reasons: list[Reason] = Field(default_factory=list, max_length=32)
    kind: Literal["thumb", "rating", "comment", "correction", "implicit"] | None = None
    """By itself, the metric's."""
    voter: Voter | None = None
    """Who votes, with an API key; kept as a keyed hash. A token knows its voter."""
    client_time: Moment | None = None
    """When, by the client's clock."""


class VoteOn(Vote):
    """The same in a batch, with what it speaks of."""

    interaction: InteractionId
    metric: MetricName = "thumb"


class Votes(Body):
    """Many votes: all are stored, or none."""

    votes: list[VoteOn] = Field(min_length=1, max_length=MAX_BATCH)


class Preference(Body):
    """Which of two answers somebody prefers, and which of them he saw first."""

    a: InteractionId
    b: InteractionId
    choice: Literal["a", "b", "tie", "both_bad"]
    shown_first: Literal["a", "b"] | None = None
    reason: Literal["arena", "regenerate", "review"] | None = None
    voter: Voter | None = None
    client_time: Moment | None = None


class VoteStored(BaseModel):
    """On disk."""

    interaction: str
    metric: str
    waiting: bool
    """The interaction isn't recorded yet; the vote counts as soon as it is."""


class LiveVote(BaseModel):
    """What this voter says now."""

    interaction: str
    metric: str
    kind: Kind
    value: float | None
    text: str | None
    reasons: list[str]
    revision: int
    created_at: datetime | None


class BatchStored(BaseModel):
    """All on disk."""

    stored: int
    waiting: int


class ChoiceStored(BaseModel):
    """On disk."""

    a: str
    b: str
    waiting: bool


def feedback_of(
    vote: Vote, metrics: Metrics, *, interaction: str, metric: str, voter: str
) -> Feedback:
    """The vote as the store takes it; raises `NotFound` and `Refused`."""
    kinds = {declared.name: declared.kind for declared in metrics}
    if metric not in kinds:
        names = ", ".join(sorted(kinds))
        raise NotFound(f"no metric of this name is declared; there are {names}")
    try:
        word = Feedback(
            interaction=interaction,
            voter=voter,
            kind=vote.kind or kinds[metric],
            metric=metric,
            value=vote.value,
            text=None if vote.text is None else printable(vote.text),
            reasons=tuple(map(printable, vote.reasons)),
            client_time=vote.client_time,
        )
    except ValidationError as error:
        raise Refused(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    try:
        metrics.check(word)
    except Refused as error:  # it begins with an id that the client has never seen
        raise Refused(str(error).removeprefix(f"{word.id}: ")) from error
    return word


def comparison_of(choice: Preference, project: str, voter: str) -> Comparison:
    """The choice as the store takes it; raises `Refused`."""
    if choice.a == choice.b:
        raise Refused("an answer can't be compared with itself")
    return Comparison(
        project=project,
        a=choice.a,
        b=choice.b,
        voter=voter,
        choice=choice.choice,
        shown_first=choice.shown_first,
        reason=choice.reason,
        client_time=choice.client_time,
    )
