"""Which conversations are kept aside to judge by, and which prompts are the same."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence

from feedback_store.schema import Message

_encode = json.JSONEncoder(ensure_ascii=False).encode


def fraction_of(text: str) -> float:
    """A text's own place in [0, 1), the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def is_held_out(conversation: str, fraction: float, salt: str = "rlhf") -> bool:
    """Whether a conversation root is kept from training; raising the fraction only adds to it."""
    return fraction_of(f"{salt}\n{conversation}") < fraction


def prompt_hash(messages: Sequence[Message]) -> str:
    """A prompt's hash, blind to case, width and spacing: a trivial variant is still a leak."""
    return hash_of_turns((message.role, message.content) for message in messages)


def hash_of_turns(turns: Iterable[tuple[str, str]]) -> str:
    """`prompt_hash` of roles and contents."""
    said = [
        [role, " ".join(unicodedata.normalize("NFKC", content).casefold().split())]
        for role, content in turns
    ]
    return hashlib.sha256(_encode(said).encode()).hexdigest()
