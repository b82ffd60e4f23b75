"""OpenAI's chat protocol: what a client may send, and the shapes that it gets back.

Fields that would change what is meant and that no engine here does are refused by name; what is
unknown beside them is passed over, as OpenAI's own clients send new ones every month.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from feedback_store import printable
from rlhf.chat import Message
from rlhf.serving.bodies import Body
from rlhf.serving.problems import Problem

STYLE = r"^(auto|none|(formal|concise|caring)(\+(formal|concise|caring)){0,2})$"
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
Person = Annotated[str, StringConstraints(max_length=512)]


class TextPart(BaseModel):
    """A part of a message; only text is answered."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def turn(self) -> Message:
        """The turn as chat templates take it, without characters that can't be kept."""
        text = self.content
        if not isinstance(text, str):
            text = "\n".join(part.text for part in text)
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": printable(text)}


class StreamOptions(BaseModel):
    """What a stream brings besides."""

    model_config = ConfigDict(strict=True)

    include_usage: bool | None = None


def _is_text(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "text"


# What each of these may say: that it isn't wanted. Anything else would get another answer than
# the one that was asked for.
_HARMLESS: Mapping[str, Callable[[Any], bool]] = {
    "n": lambda value: value == 1,
    "best_of": lambda value: value == 1,
    "tools": lambda value: value == [],
    "tool_choice": lambda value: value in ("none", "auto"),
    "functions": lambda value: value == [],
    "function_call": lambda value: value in ("none", "auto"),
    "response_format": _is_text,
    "logprobs": lambda value: value is False,
    "top_logprobs": lambda value: value == 0,
    "logit_bias": lambda value: value == {},
    "frequency_penalty": lambda value: value == 0,
    "presence_penalty": lambda value: value == 0,
    "repetition_penalty": lambda value: value == 1,
    "top_k": lambda value: value in (0, -1),
    "min_p": lambda value: value == 0,
    "audio": lambda value: False,
    "modalities": lambda value: value == ["text"],
    "web_search_options": lambda value: False,
}


class ChatRequest(Body):
    """A chat completion, as OpenAI's clients ask for it; `style` and what follows are ours.

    Refused where they ask for something: n above 1, tools, functions, logprobs, penalties,
    response_format other than text, audio. Other fields of OpenAI's are passed over.
    """

    model_config = ConfigDict(extra="ignore")

    model: Annotated[str, Field(max_length=1_000)] = "champion"
    """`champion` (or `default`): whoever answers this user. Or a served policy by its label."""
    messages: list[ChatMessage] = Field(min_length=1, max_length=1_000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: (
        Annotated[str, Field(min_length=1, max_length=200)]
        | Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=4)]
        | None
    ) = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    n: Literal[1] | None = None
    user: Person | None = None
    """Who asks: stays with one policy, and votes under this name. Kept as a keyed hash."""
    safety_identifier: Person | None = None
    """The same, by its newer name."""
    metadata: dict[str, str] | None = None
    """Not kept."""
    style: str | None = Field(default=None, pattern=STYLE)
    """formal, concise, caring, or several joined by +; auto reads the user's mood; none."""
    conversation: Name | None = None
    """The conversation's id; by itself, this answer begins one."""
    turn: int | None = Field(default=None, ge=0, lt=2**31)
    """The answer's place in the conversation; by itself, counted in the messages."""
    consent: bool | None = None
    """Whether the dialogue may be trained on; by itself, yes."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_done(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name, harmless in _HARMLESS.items():
            if data.get(name) is not None and not harmless(data[name]):
                message = f"{name}: not supported with this value; leave it out"
                raise Problem(400, message, code="unsupported_parameter", param=name)
        return data

    @property
    def asker(self) -> str | None:
        """Who asks."""
        return self.user or self.safety_identifier

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(kept for text in stop if (kept := printable(text)))

    @property
    def most_tokens(self) -> int | None:
        """Tokens of the answer, at most."""
        asked = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return min(asked, default=None)


class Ballot(BaseModel):
    """How to vote on an answer without an API key."""

    token: str
    """For the header X-Vote-Token, on this answer's feedback route."""
    expires_at: int
    """Seconds since 1970."""
    solicited: bool
    """Whether to ask this user for a vote: drawn at random, to learn what all users think."""


class Usage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Reply(BaseModel):
    """The answer as a message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: Reply
    logprobs: None = None
    finish_reason: Literal["stop", "length", "content_filter"]


class ChatCompletion(BaseModel):
    """A whole answer; its id is the interaction's."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    style: str | None
    """The style that it was given in."""
    feedback: Ballot


class Model(BaseModel):
    """A policy that answers."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "rlhf-loop"
    role: Literal["champion", "canary"]


class Models(BaseModel):
    """All that answer."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorText(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Any answer other than a 2xx."""

    error: ErrorText
