"""What a server and its engine's process say to each other: one JSON object a line.

To the process:    start, then ask | cancel | ready | drop
From the process:  started, then told | refused | broke | done | failed

Asks and policies' changes are numbered by the server; an ask's own id stays there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlhf.chat import Message
from rlhf.errors import DataError, PolicyError, UsageError
from rlhf.policies import Policy, base_policy, read_policy
from rlhf.sampling import Sampling
from rlhf.serving.engines import Ask, Ended, EngineFailed

# Longer than the longest line that either side has reason to write.
LONGEST_LINE = 64 * 1024 * 1024

_KINDS = {"DataError": DataError, "PolicyError": PolicyError, "UsageError": UsageError}


def line(message: dict[str, Any]) -> bytes:
    """In ASCII, so that any text goes through."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def parsed(data: bytes) -> dict[str, Any]:
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("a message must be an object")
    return message


@dataclass(frozen=True)
class Question:
    """An ask as the process knows it."""

    number: int
    messages: tuple[Message, ...]
    style: str | None
    policy: str
    sampling: Sampling
    seed: int
    stop: tuple[str, ...]


def ask_message(number: int, ask: Ask) -> dict[str, Any]:
    return {
        "ask": number,
        "messages": [dict(m) for m in ask.messages],
        "style": ask.style,
        "policy": ask.policy,
        "sampling": ask.sampling.as_dict(),
        "seed": ask.seed & (2**63 - 1),
        "stop": ask.stop,
    }


def question(message: dict[str, Any]) -> Question:
    return Question(
        number=message["ask"],
        messages=tuple(message["messages"]),
        style=message["style"],
        policy=message["policy"],
        sampling=Sampling(**message["sampling"]),
        seed=message["seed"],
        stop=tuple(message["stop"]),
    )


def policy_message(number: int, policy: Policy) -> dict[str, Any]:
    folder = None if policy.folder is None else str(policy.folder.absolute())
    return {"ready": number, "base_model": policy.base_model, "folder": folder}


def policy_of(message: dict[str, Any]) -> Policy:
    """Raises `PolicyError` where the folder holds none."""
    if message["folder"] is None:
        return base_policy(message["base_model"])
    return read_policy(Path(message["folder"]))


@dataclass(frozen=True)
class Told:
    """What was drawn of one answer since the last time."""

    number: int
    text: str
    token_ids: list[int]
    finish_reason: Ended | None
    prompt_tokens: int | None


def told_message(news: list[Told]) -> dict[str, Any]:
    """All rows' news of a step, in one line."""
    return {"told": [list(asdict(n).values()) for n in news]}


def told_of(message: dict[str, Any]) -> list[Told]:
    return [Told(*values) for values in message["told"]]


def error_fields(error: Exception) -> dict[str, str]:
    """An error's kind and its one line, which names things and quotes no user."""
    return {"kind": type(error).__name__, "text": " ".join(str(error).split())}


def error_of(message: dict[str, Any]) -> Exception:
    return _KINDS.get(message["kind"], EngineFailed)(message["text"])
