"""What is recorded: an interaction, what people said of it, and what was trained and released.

`seq`, `revision` and (unless an import brings its own) `created_at` are stamped by the store; a
vote's `client_time` is only what the voter's clock said. Policy, style and sampling of a vote are
its interaction's. `voter` and `user` are read back as pseudonyms (`feedback_store.pseudonyms`).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from feedback_store.fields import (
    Count,
    Document,
    Flag,
    Id,
    Label,
    Number,
    Probability,
    Record,
    Seq,
    Short,
    Text,
    Utc,
    new_id,
)

MAX_TOKENS = 200_000

Kind = Literal["thumb", "rating", "comment", "correction", "comparison", "implicit"]
Setting = (
    Short
    | Flag
    | Annotated[int, Strict(), Field(gt=-(2**53), lt=2**53)]
    | Annotated[float, Strict()]
    | None
)


class Message(Record):
    """One turn of a dialogue."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Interaction(Record):
    """A prompt, the answer given to it, and everything needed to learn from a vote on it."""

    id: Id = Field(default_factory=new_id)
    project: Label = "default"
    conversation: Id = ""  # the conversation's root; by itself, the interaction
    turn: Count = 0
    messages: tuple[Message, ...] = Field(min_length=1, max_length=1_000)
    response: Text
    response_token_ids: Annotated[tuple[Count, ...], Field(max_length=MAX_TOKENS)] | None = None
    finish_reason: Literal["stop", "length", "content_filter", "cancelled", "error"] | None = None
    blocked: Short | None = None
    """The rules that the policy's own answer broke; the response is what stood in its place."""
    policy: Id | None = None
    template_hash: Id | None = None
    style_asked: Label | None = None
    style_used: Label | None = None
    intent: Label | None = None
    sampling: dict[Label, Setting] = Field(default_factory=dict, max_length=64)
    assignment_probability: Probability | None = None
    solicited: Flag = False
    simulated: Flag = False
    consent: Flag = True
    user: Id | None = None
    latency_ms: Annotated[Number, Field(ge=0)] | None = None
    first_token_ms: Annotated[Number, Field(ge=0)] | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    created_at: Utc | None = None
    seq: Seq | None = None

    @model_validator(mode="before")
    @classmethod
    def _root(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v or k not in ("id", "conversation")}

    @model_validator(mode="after")
    def _own_root(self) -> Self:
        if not self.conversation:
            # Not `model_copy`: what the caller left out stays marked as left out.
            self.__dict__["conversation"] = self.id
        return self

    @property
    def style(self) -> str | None:
        """The style that the answer was given in."""
        return self.style_used or self.style_asked


class Feedback(Record):
    """One person's word on one interaction, under one metric; its range is the metric's to say.

    A comparison speaks of two interactions, so it has a record of its own; `kind="comparison"` is
    refused here and named `Comparison` in the error.
    """

    id: Id = Field(default_factory=new_id)
    interaction: Id
    voter: Id
    kind: Kind
    metric: Label = ""  # by itself, the kind
    value: Number | None = None
    text: Text | None = None
    reasons: tuple[Short, ...] = Field(default=(), max_length=32)
    simulated: Flag = False
    solicited: Flag = False
    withdrawn: Flag = False
    client_time: Utc | None = None
    revision: Count = 0
    created_at: Utc | None = None
    seq: Seq | None = None

    @model_validator(mode="before")
    @classmethod
    def _metric(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("metric"):
            return data
        return {**data, "metric": data.get("kind")}

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "comparison":
            raise ValueError("a comparison speaks of two interactions: send a Comparison")
        if self.withdrawn:
            if self.value is not None or self.text is not None:
                raise ValueError("a withdrawn vote has neither value nor text")
            return self
        written = self.kind in ("comment", "correction")
        if written != (self.value is None) or written != bool(self.text and self.text.strip()):
            raise ValueError(f"a {self.kind} has {'a text' if written else 'a value'} and no other")
        if self.kind == "thumb" and self.value not in (1.0, -1.0):
            raise ValueError(f"a thumb is 1 or -1, not {self.value}")
        return self


class Comparison(Record):
    """One person's choice between two answers; a and b may stand in either order."""

    id: Id = Field(default_factory=new_id)
    project: Label = "default"
    a: Id
    b: Id
    voter: Id
    choice: Literal["a", "b", "tie", "both_bad"]
    shown_first: Literal["a", "b"] | None = None
    reason: Literal["arena", "regenerate", "review"] | None = None
    simulated: Flag = False
    solicited: Flag = False
    withdrawn: Flag = False
    client_time: Utc | None = None
    revision: Count = 0
    created_at: Utc | None = None
    seq: Seq | None = None

    @model_validator(mode="after")
    def _two_answers(self) -> Self:
        if self.a == self.b:
            raise ValueError(f"interaction {self.a} can't be compared with itself")
        return self

    @property
    def pair(self) -> tuple[str, str]:
        """The two interactions in an order of their own: the key, with the voter, of a choice."""
        return (self.a, self.b) if self.a < self.b else (self.b, self.a)


class Policy(Record):
    """A version of the model: where it lies and what it was made of."""

    id: Id
    kind: Literal["base", "lora", "full", "merged"]
    base_model: Short
    parent: Id | None = None
    snapshot: Id | None = None
    run: Id | None = None
    path: Short
    manifest: Document = Field(default_factory=dict)
    created_at: Utc | None = None


class Snapshot(Record):
    """A data set that was built from the votes up to a watermark."""

    id: Id
    path: Short
    project: Label
    watermark: Count
    counts: Document
    manifest: Document
    created_at: Utc | None = None


class Decision(Record):
    """What the gate said of a candidate, and why."""

    id: Id = Field(default_factory=new_id)
    project: Label = "default"
    candidate: Id
    champion: Id | None = None
    promote: Flag
    reasons: tuple[Short, ...] = ()
    report: Document = Field(default_factory=dict)
    run: Id | None = None
    created_at: Utc | None = None


class Release(Record):
    """A change of champion; a project's last release names the policy that serves it."""

    seq: Seq | None = None
    project: Label = "default"
    policy: Id
    previous: Id | None = None
    action: Literal["promote", "rollback"]
    reason: Short = ""
    created_at: Utc | None = None
