"""OpenAI's fine-tuning files: chats (`messages`), and preferences for its DPO.

A chat teaches every answer in it whose `weight` isn't 0, so each becomes an interaction of one
conversation. A preference is `{"input": {"messages"}, "preferred_output", "non_preferred_output"}`.
"""

from __future__ import annotations

from typing import Any

from feedback_store import Interaction
from rlhf.errors import DataError
from rlhf.exchange.entry import Entry, Origin, Row, asked, messages


def openai_chat(row: Row, origin: Origin) -> Entry:
    """One line of either kind of file."""
    if "preferred_output" in row or "non_preferred_output" in row:
        return _preference(row, origin)
    if "messages" not in row:
        raise DataError("needs `messages`, or `input` with both outputs")
    return _chat(row["messages"], origin)


def _chat(value: Any, origin: Origin) -> Entry:
    turns = messages(value, "messages")
    if turns[-1]["role"] != "assistant":
        raise DataError("`messages` must end with the assistant's turn")
    conversation = origin.id("conversation", _opening(turns))
    answers: list[Interaction] = []
    for place, turn in enumerate(turns):
        if turn["role"] != "assistant" or _weight(value[place]) == 0:
            continue
        prompt = asked(turns[:place], "messages")
        answer = origin.interaction(
            messages=prompt, response=turn["content"], conversation=conversation, turn=len(answers)
        )
        answers.append(answer)
    if not answers:
        raise DataError("every answer has the weight 0: nothing to learn from")
    liked = tuple(origin.thumb(a, True) for a in answers) if origin.liked else ()
    return Entry(tuple(answers), liked)


def _weight(message: dict[str, Any]) -> int:
    weight = message.get("weight", 1)
    if weight not in (0, 1) or isinstance(weight, bool):
        raise DataError("a message's `weight` must be 0 or 1")
    return int(weight)


def _preference(row: Row, origin: Origin) -> Entry:
    given = row.get("input")
    if not isinstance(given, dict):
        raise DataError("`input` must hold the messages")
    prompt = asked(messages(given.get("messages"), "input"), "input")
    conversation = origin.id("conversation", _opening(prompt))
    outputs = [
        _answer(row.get(name), name) for name in ("preferred_output", "non_preferred_output")
    ]
    if outputs[0] == outputs[1]:
        raise DataError("both outputs are the same text")
    chosen, rejected = (
        origin.interaction(messages=prompt, response=text, conversation=conversation)
        for text in outputs
    )
    return origin.pair(chosen, rejected)


def _answer(value: Any, name: str) -> str:
    turns = messages(value, name)
    if len(turns) != 1 or turns[0]["role"] != "assistant" or not turns[0]["content"].strip():
        raise DataError(f"`{name}` must hold one turn of the assistant with a text")
    return turns[0]["content"]


def _opening(turns: list[dict[str, str]]) -> str:
    """A conversation is known by the user's first words, so that a split keeps it together."""
    return next((turn["content"] for turn in turns if turn["role"] == "user"), "")
