"""What answers: one small interface, and the engines behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from rlhf.chat import Message
from rlhf.policies import Policy
from rlhf.sampling import Sampling

Ended = Literal["stop", "length"]


class EngineFailed(Exception):
    """The engine broke down or can't be reached; its text is one line, fit for a log."""


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted of one policy."""

    id: str
    messages: tuple[Message, ...]
    """As the client sent them; the engine writes the style into the prompt (`chat.styled`)."""
    style: str | None
    policy: str
    """The label of a policy that the engine was made `ready` for."""
    sampling: Sampling
    seed: int
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are no part of it."""


@dataclass(frozen=True)
class Piece:
    """What was drawn since the piece before; texts add up to the answer."""

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: Ended | None = None
    """Set on the last piece, and on no other."""
    prompt_tokens: int | None = None
    """Set on the first piece, by an engine that knows it."""


class Engine(Protocol):
    """Answers many asks at once. All methods run on the server's event loop."""

    async def start(self) -> None:
        """Begin; returns when policies can be made ready. Raises `EngineFailed`."""
        ...

    async def close(self) -> None:
        """Let go of everything; asks under way end with `EngineFailed`."""
        ...

    async def ready(self, policy: Policy) -> None:
        """Make a policy answerable, beside those that are; returns when it is."""
        ...

    async def drop(self, label: str) -> None:
        """Forget a policy once the asks on it have ended."""
        ...

    def answer(self, ask: Ask) -> AsyncIterator[Piece]:
        """Pieces as they are drawn; closing the iterator stops the drawing.

        Raises `EngineFailed` where the answer breaks off, `DataError` for turns that the model's
        template refuses, and for a prompt that is too long.
        """
        ...

    @property
    def alive(self) -> bool:
        """Whether it answers just now."""
        ...
