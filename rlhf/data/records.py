"""Dialogues and preferences from files, in the shapes people have them.

| shape | columns |
|---|---|
| dialogue | `context`, `response`, `intent`?, `style`? |
| messages | `messages` (the last turn is the answer) |
| prompt and completion | `prompt`, `completion` |
| preference | `prompt`?, `chosen`, `rejected` |
| unpaired preference | `prompt`, `completion`, `label` |
| prompt alone, where no answer is needed | `prompt` or `context` |

Texts may be strings (with `用户:`/`模型:` or `User:`/`Assistant:` before turns) or lists of
messages. Whatever came, a `Record` holds the prompt as turns and the answers as texts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from feedback_store import Message as StoredMessage
from feedback_store import is_held_out, prompt_hash
from rlhf.chat import Message, Messages, Role, turns
from rlhf.data.json_rows import json_rows
from rlhf.data.reward_columns import others
from rlhf.errors import DataError, UnusableRow
from rlhf.files import content_id
from rlhf.progress import console

Shape = Literal["sft", "preference", "unpaired", "prompt"]
_ANSWERS = {"completion", "chosen", "rejected"}


@dataclass(frozen=True)
class Record:
    """A prompt with an answer, with a chosen and a rejected one, with a judged one, or alone."""

    shape: Shape
    prompt: tuple[Message, ...]
    completion: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    label: bool | None = None
    style: str | None = None
    intent: str | None = None
    conversation: str = ""
    weight: float = 1.0
    margin: float = 0.0
    """By how much a reward model should at least put the chosen answer before the other."""
    unfinished: tuple[str, ...] = ()
    """Which of its answers a limit cut off: they are learned without an end."""
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What else its row has, for rewards that read it (`reward_columns`)."""
    source: str = field(default="", compare=False)


def read_records(path: Path, limit: int | None = None, *, answered: bool = True) -> list[Record]:
    """All records of a JSON or JSONL file; rows that teach nothing are left out, and told.

    `answered=False` takes prompts without an answer as well. Raises `DataError` with file and line
    at the first row that cannot be read.
    """
    records: list[Record] = []
    unusable: list[UnusableRow] = []
    for where, row in json_rows(path):
        try:
            records.append(parse_record(row, where, answered=answered))
        except UnusableRow as error:
            unusable.append(error)
        if limit is not None and len(records) >= limit:
            break
    if not records:
        why = f"; the first: {unusable[0]}" if unusable else ""
        raise DataError(f"{path}: holds no rows to learn from{why}")
    if unusable:
        told = f"  left out {len(unusable)} rows; the first: {unusable[0]}"
        console.print(told, markup=False, soft_wrap=True)
    return records


def read_all(paths: Iterable[Path]) -> list[Record]:
    """The records of several files, one after the other."""
    return [record for path in paths for record in read_records(path)]


def parse_record(row: Any, where: str, *, answered: bool = True) -> Record:
    """Recognise a row's shape; raises `DataError` naming the row and what is amiss."""
    found = recognised(row, where, answered=answered)
    conversation = conversation_id(row.get("conversation"), found["prompt"])
    return Record(**found, conversation=conversation, columns=others(row), source=where)


def recognised(
    row: Any, where: str, *, answered: bool = True, encodable: bool = False
) -> dict[str, Any]:
    """The fields of a row's `Record` without those that only tell it from others.

    `encodable` says that the row is known to hold whole characters, as what `strict_json` reads.
    """
    if type(row) is not dict and not isinstance(row, Mapping):
        raise DataError(f"{where}: a row must be a JSON object, found {type(row).__name__}")
    if not encodable:
        _refuse_unencodable(row, where)
    if "chosen" in row or "rejected" in row:
        return _preference(row, where)
    if "label" in row and "completion" in row:
        return _unpaired(row, where)
    if not answered and not {"response", "completion", "messages"} & row.keys():
        return _asked(row, where)
    return _answered(row, where)


def _refuse_unencodable(row: Mapping[str, Any], where: str) -> None:
    """JSON can write half of a surrogate pair, which no file or tokenizer takes later."""
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(
            f"{where}: holds {half!r}, half of a character; mend or remove the row"
        ) from error
    except RecursionError as error:
        raise DataError(f"{where}: is nested too deeply; mend or remove the row") from error


def _common(row: Mapping[str, Any], where: str, prompt: Messages) -> dict[str, Any]:
    if not prompt or prompt[-1]["role"] != "user":
        raise DataError(f"{where}: the prompt must end with the user's turn")
    for key in ("style", "intent", "conversation"):
        value = row.get(key)
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}: `{key}` must be text")
    unfinished = row.get("unfinished", [])
    if unfinished != [] and (
        not isinstance(unfinished, list) or not set(map(str, unfinished)) <= _ANSWERS
    ):
        names = ", ".join(sorted(_ANSWERS))
        raise DataError(f"{where}: `unfinished` must list some of {names}, found {unfinished!r}")
    return {
        "prompt": tuple(prompt),
        "style": row.get("style"),
        "intent": row.get("intent"),
        "weight": _weight(row, where),
        "unfinished": tuple(unfinished),
    }


def _weight(row: Mapping[str, Any], where: str) -> float:
    if "weight" not in row:
        return 1.0
    weight = row["weight"]
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e6:
        raise DataError(f"{where}: `weight` must be a number from 0, found {weight!r}")
    return float(weight)


def conversation_id(given: str | None, prompt: Sequence[Message]) -> str:
    """What a conversation is known by: its name, or the user's first words.

    All that grows from one opening stays together, while a system prompt that every dialogue
    shares does not make them one.
    """
    opening = given or next(m["content"] for m in prompt if m["role"] == "user")
    return content_id(opening, 24)


def _answered(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    if "messages" in row:
        messages = _messages(row["messages"], where, "messages", "user")
        if not messages or messages[-1]["role"] != "assistant":
            raise DataError(f"{where}: `messages` must end with the assistant's turn")
        prompt, answer = messages[:-1], messages[-1]["content"]
    else:
        ask, reply = ("context", "response") if "context" in row else ("prompt", "completion")
        if ask not in row or reply not in row:
            raise DataError(
                f"{where}: needs `context` and `response`, `messages`, `prompt` and `completion`, "
                f"or `chosen` and `rejected`; found {', '.join(sorted(map(str, row))) or 'nothing'}"
            )
        prompt = _messages(row[ask], where, ask, "user")
        answer = _answer(row[reply], where, reply)
    return {"shape": "sft", "completion": answer, **_common(row, where, prompt)}


def _asked(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    ask = "context" if "context" in row else "prompt"
    if ask not in row:
        found = ", ".join(sorted(map(str, row))) or "nothing"
        raise DataError(f"{where}: needs `prompt` or `context`; found {found}")
    prompt = _messages(row[ask], where, ask, "user")
    return {"shape": "prompt", **_common(row, where, prompt)}


def _preference(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in ("chosen", "rejected"):
        if key not in row:
            raise DataError(f"{where}: a preference needs both `chosen` and `rejected`")
    if "prompt" in row:
        prompt = _messages(row["prompt"], where, "prompt", "user")
        chosen = _answer(row["chosen"], where, "chosen")
        rejected = _answer(row["rejected"], where, "rejected")
    else:
        # An implicit prompt: what both conversations share before the last answer.
        left = _messages(row["chosen"], where, "chosen", "user")
        right = _messages(row["rejected"], where, "rejected", "user")
        if len(left) < 2 or left[:-1] != right[:-1]:
            raise DataError(f"{where}: `chosen` and `rejected` do not share a prompt")
        prompt, chosen, rejected = left[:-1], left[-1]["content"], right[-1]["content"]
    if chosen == rejected:
        raise UnusableRow(f"{where}: `chosen` and `rejected` are the same text")
    margin = row.get("margin") or 0.0
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < 1e6:
        raise DataError(f"{where}: `margin` must be a number from 0, found {margin!r}")
    told = {"chosen": chosen, "rejected": rejected, "margin": float(margin)}
    return {"shape": "preference", **told, **_common(row, where, prompt)}


def _unpaired(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(row["label"], bool):
        raise DataError(f"{where}: `label` must be true or false, found {row['label']!r}")
    prompt = _messages(row.get("prompt"), where, "prompt", "user")
    answer = _answer(row["completion"], where, "completion")
    told = {"completion": answer, "label": row["label"]}
    return {"shape": "unpaired", **told, **_common(row, where, prompt)}


def _messages(value: Any, where: str, key: str, first: Role) -> Messages:
    if isinstance(value, str):
        return turns(value, first)
    if not isinstance(value, list):
        raise DataError(f"{where}: `{key}` must be text or a list of messages")
    messages: Messages = []
    for message in value:
        if (
            not isinstance(message, Mapping)
            or message.get("role") not in ("system", "user", "assistant")
            or not isinstance(message.get("content"), str)
        ):
            raise DataError(f"{where}: `{key}` holds a message without a known role and a text")
        messages.append({"role": message["role"], "content": message["content"]})
    return messages


def _answer(value: Any, where: str, key: str) -> str:
    messages = _messages(value, where, key, "assistant")
    text = "\n".join([m["content"] for m in messages]).strip()
    if not text:
        raise UnusableRow(f"{where}: `{key}` is empty")
    return text


def split(
    records: list[Record], fraction: float, salt: str = "rlhf"
) -> tuple[list[Record], list[Record]]:
    """Training and held-out records, by conversation and by prompt.

    A prompt that is held out anywhere is held out everywhere, whatever conversations it came in
    and whatever its case and spacing. Another salt holds other conversations out.
    """
    chosen = [r for r in records if is_held_out(r.conversation, fraction, salt)]
    hashes = {_prompt_hash(r) for r in chosen}
    aside = [_prompt_hash(r) in hashes for r in records]
    train = [r for r, out in zip(records, aside, strict=True) if not out]
    return train, [r for r, out in zip(records, aside, strict=True) if out]


def drop_prompts(records: Sequence[Record], held_out: Sequence[Record]) -> list[Record]:
    """The records whose prompts are not among the held-out ones, blind to case and spacing."""
    hashes = {_prompt_hash(r) for r in held_out}
    return [r for r in records if _prompt_hash(r) not in hashes]


def _prompt_hash(record: Record) -> str:
    # Unchecked: the store's limits on what it keeps are no matter of comparing prompts.
    return prompt_hash([StoredMessage.model_construct(**m) for m in record.prompt])


def take(records: list[Record], count: int | None, seed: int) -> list[Record]:
    """`count` of them, chosen by seed, in their order; all when `count` is None."""
    if count is None or count >= len(records):
        return records
    chosen = sorted(random.Random(seed).sample(range(len(records)), count))
    return [records[i] for i in chosen]
