"""An engine that says what the user's last turn tells it to, token by token.

    say TEXT          the text, a word a piece
    slowly TEXT       the same, with a pause between words
    forever           one word after another without end
    break TEXT        the text, and then the engine breaks down
    refuse            turns that the model's template doesn't take
    never             nothing, without end

It stands where a test needs an answer of known words or at a known pace; what the real engine says
is in the tests that ask it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from rlhf.errors import DataError
from rlhf.policies import Policy
from rlhf.serving.engines import Ask, EngineFailed, Piece

PAUSE_S = 0.02


class Reciting:
    """Answers at once, in this process."""

    def __init__(self) -> None:
        self.alive = True
        self.held: set[str] = set()
        self.asked: list[Ask] = []
        self.closed: list[str] = []

    async def start(self) -> None:
        return None

    async def close(self) -> None:
        self.alive = False

    async def ready(self, policy: Policy) -> None:
        self.held.add(policy.label)

    async def drop(self, label: str) -> None:
        self.held.discard(label)

    def answer(self, ask: Ask) -> AsyncIterator[Piece]:
        self.asked.append(ask)
        return self._answer(ask)

    async def _answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        told = next((m["content"] for m in reversed(ask.messages) if m["role"] == "user"), "")
        order, _, text = told.partition(" ")
        if order == "refuse":
            raise DataError("the model's chat template refuses the turns; change the dialogue")
        try:
            words = text.split(" ") if order in ("say", "slowly", "break") else ["well"]
            number = 0
            while order == "never":
                await asyncio.sleep(PAUSE_S)
            while True:
                word = words[number % len(words)]
                number += 1
                if order in ("slowly", "forever"):
                    await asyncio.sleep(PAUSE_S)
                last = number == len(words) and order in ("say", "slowly")
                full = number == ask.sampling.max_new_tokens
                yield Piece(
                    word if number == 1 else f" {word}",
                    (number,),
                    "stop" if last else "length" if full else None,
                    len(ask.messages) if number == 1 else None,
                )
                if last or full:
                    return
                if order == "break" and number == len(words):
                    raise EngineFailed("the worker died with status 9")
        finally:
            self.closed.append(ask.id)
