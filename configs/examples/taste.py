"""What the stand-in users of the demo like. None of the project's rewards measures this."""

import re
from typing import Any

_END = re.compile(r"[.!?。！？][\"'”’)）]*$")
_PIECE = re.compile(r"[\u4e00-\u9fff]|[A-Za-z0-9']+")
_INVITES = ("?", "？", "let me know", "feel free", "请告诉", "可以帮", "需要的话")


def to_the_point(
    prompts: list[Any], completions: list[Any], *, short: int = 25, **columns: Any
) -> list[float | None]:
    """Likes answers that come to their end, stay short, and leave the next word to the user.

    1 for an answer that ends with a sentence's end; up to 1 for brevity, a half at `short` words
    or Chinese characters; a quarter for inviting the user to go on. Hardly a word is a nuisance.
    """
    scores: list[float | None] = []
    for completion in completions:
        text = completion if isinstance(completion, str) else completion[-1]["content"]
        text = text.strip()
        size = len(_PIECE.findall(text))
        ended = 1.0 if _END.search(text) else 0.0
        brief = short / (short + size) if size >= 4 else -1.0
        invites = 0.25 if any(word in text.lower() for word in _INVITES) else 0.0
        scores.append(ended + brief + invites)
    return scores
