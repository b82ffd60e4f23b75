"""Users who ask a server over and over, and read their answers as they stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

QUESTIONS = (
    "What is the capital of France?",
    "My parcel is late, and nobody answers the phone. What can I do now?",
    "Explain to a child of ten why the sky is blue and the evening sun is red.",
    "I slept badly for a week. Write me five things that I could try before I see a doctor, "
    "and say for each of them in one sentence why it may help.",
    "How do I return shoes that don't fit?",
    "Which vegetables grow in shade?",
)
"""Of several lengths, as users' are; each user begins at another one."""

Stream = Callable[[str, int], Any]
"""A question and a seed to an asynchronous generator of texts."""


@dataclass
class Heard:
    """What one user saw."""

    firsts: list[float] = field(default_factory=list)
    """Seconds from each question to the first text; of a question still open at the end, so far."""
    texts: list[str] = field(default_factory=list)
    failures: int = 0


async def users(stream: Stream, count: int, seconds: float) -> list[Heard]:
    """Ask until the time is up. What was read by then counts, also of unfinished answers."""
    everybody = [Heard() for _ in range(count)]
    deadline = time.monotonic() + seconds
    tasks = [asyncio.create_task(_user(stream, n, h, deadline)) for n, h in enumerate(everybody)]
    await asyncio.gather(*tasks)
    return everybody


async def _user(stream: Stream, number: int, heard: Heard, deadline: float) -> None:
    turn = number
    while (left := deadline - time.monotonic()) > 0:
        began, before = time.monotonic(), len(heard.firsts)
        heard.texts.append("")
        try:
            async with asyncio.timeout(left):
                await _answer(stream, turn, heard, began)
        except TimeoutError:
            if len(heard.firsts) == before:
                heard.firsts.append(time.monotonic() - began)
        except httpx.HTTPError:
            heard.failures += 1
        turn += 1


async def _answer(stream: Stream, turn: int, heard: Heard, began: float) -> None:
    first = True
    async with aclosing(stream(QUESTIONS[turn % len(QUESTIONS)], turn)) as texts:
        async for text in texts:
            if first:
                heard.firsts.append(time.monotonic() - began)
                first = False
            heard.texts[-1] += text


def openai_stream(client: httpx.AsyncClient, model: str, most: int) -> Stream:
    """Chat completions of an OpenAI-compatible server."""

    async def stream(question: str, seed: int) -> AsyncIterator[str]:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": most,
            "temperature": 0.7,
            "top_p": 0.95,
            "seed": seed,
            "stream": True,
        }
        async with client.stream("POST", "chat/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data:") and line != "data: [DONE]":
                    choices = json.loads(line[5:])["choices"]
                    text = choices[0]["delta"].get("content") if choices else None
                    if text:
                        yield text

    return stream
