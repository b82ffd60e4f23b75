"""Dialogues as chat turns, and the one place where a style is written into a prompt.

Training data, simulation, evaluation and serving all call `styled`, so that the model meets the
control in one form: `[STYLE:formal]` at the head of the user's last turn. The user's turn, not a
system turn, because some chat templates (Gemma's) have no system role.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from jinja2 import TemplateError

from rlhf.errors import DataError

if TYPE_CHECKING:
    # Not at run time: reading records needs no model library, which takes seconds to load.
    from transformers import PreTrainedTokenizerBase

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One turn of a conversation, in the shape chat templates take."""

    role: Role
    content: str


Messages = list[Message]

STYLES = ("formal", "concise", "caring")

# Ways people write the three styles in their data; several may stand in one label (专业且关怀).
_STYLE_WORDS = {
    "formal": ("formal", "professional", "正式", "专业"),
    "concise": ("concise", "brief", "简洁", "简短"),
    "caring": ("caring", "empathetic", "warm", "关怀", "温暖", "体贴"),
}

# Base models come without a chat template: the seed's plain dialogue form, one turn a line.
# BOS stands here because nothing else adds it to a chat, and Gemma 3 babbles without it.
PLAIN_TEMPLATE = (
    "{{ bos_token if bos_token is defined and bos_token else '' }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ 'Assistant: ' + message['content'] + eos_token + '\n' }}"
    "{% else %}{{ message['content'] + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)

_PREFIX = re.compile(r"^\s*(用户|模型|user|assistant)\s*[:：]\s*", re.IGNORECASE)
_ROLE_OF: dict[str, Role] = {
    "用户": "user",
    "user": "user",
    "模型": "assistant",
    "assistant": "assistant",
}
_CONTROL = re.compile(r"^\s*\[STYLE:[^\]\n]{0,64}\][ \t]*\n?", re.IGNORECASE)


def parse_style(label: str | None) -> str | None:
    """The control word for a style label: `正式` → `formal`, `专业且关怀` → `formal+caring`.

    An unknown label gives None: the row trains without a control.
    """
    if not label:
        return None
    lowered = label.lower()
    found = [s for s, words in _STYLE_WORDS.items() if any(w in lowered for w in words)]
    return "+".join(found) or None


def styled(messages: Sequence[Message], style: str | None) -> Messages:
    """The same turns with the style's control at the head of the last user turn.

    A control that the user typed is taken out of every user turn first: only we may set it.
    """
    turns: Messages = [
        {"role": m["role"], "content": _without_control(m["content"])}
        if m["role"] == "user"
        else {"role": m["role"], "content": m["content"]}
        for m in messages
    ]
    control = parse_style(style)
    if control is None:
        return turns
    for turn in reversed(turns):
        if turn["role"] == "user":
            turn["content"] = f"[STYLE:{control}]\n{turn['content']}"
            break
    return turns


def _without_control(text: str) -> str:
    while match := _CONTROL.match(text):
        text = text[match.end() :]
    return text


def turns(text: str, first: Role = "user") -> Messages:
    """Split `用户:…\\n模型:…` (or `User:`/`Assistant:`) into turns; unmarked lines go on a turn."""
    if "\n" not in text:
        match = _PREFIX.match(text) if ":" in text or "：" in text else None
        said = text[match.end() :].strip() if match else text.strip()
        only: Message = {"role": _ROLE_OF[match[1].lower()] if match else first, "content": said}
        return [only] if said else []
    messages: Messages = []
    for line in text.split("\n"):
        match = _PREFIX.match(line)
        if match:
            role = _ROLE_OF[match.group(1).lower()]
            messages.append({"role": role, "content": line[match.end() :]})
        elif messages:
            messages[-1]["content"] += "\n" + line
        else:
            messages.append({"role": first, "content": line})
    for message in messages:
        message["content"] = message["content"].strip()
    return [m for m in messages if m["content"]]


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], style: str | None = None
) -> list[int]:
    """Token ids of the prompt, ready for the model to answer.

    Raises `DataError` for turns that the model's template does not take, as Gemma's no system turn.
    """
    turns: Any = styled(messages, style)
    try:
        ids: Any = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=False
        )
    except TemplateError as error:
        roles = ", ".join(turn["role"] for turn in turns)
        why = " ".join(str(error).split())
        raise DataError(
            f"the model's chat template refuses the turns ({roles}): {why}; change the dialogue"
        ) from error
    return [int(i) for i in ids]


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Names the chat template that a policy was trained with."""
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16]
