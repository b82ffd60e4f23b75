"""`repetition`: how much of an answer has been said in it before.

Chinese has no spaces, so n-grams of space-separated words see nothing in it; here a window holds
`n` words, where a CJK character counts as half a word. Windows stay inside a sentence, and a
sentence shorter than one is a window itself: so saying a sentence again can only raise the rate.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rewards.errors import BadParameter
from rewards.registry import reward
from rewards.text import CJK, EMOJI, Turn, completion_text, sentences

# A CJK character, an emoji, or a word of any other script.
_TOKEN = re.compile(rf"(?P<half>[{CJK}{EMOJI}])|[^\W_{CJK}]+")


@reward()
def repetition(
    prompts: Sequence[Turn], completions: Sequence[Turn], *, n: int = 3, **columns: Any
) -> list[float]:
    """Penalise repeated n-grams in [-1, 0], in Chinese as in English; `n` counts words.

    >>> repetition(["?"] * 2, ["多喝水。多喝水。多喝水。多喝水。", "多喝水，早点休息。"])
    [-0.75, 0.0]
    """
    if n < 1:
        raise BadParameter(f"repetition needs n >= 1, not {n}")
    return [0.0 - repetition_rate(completion_text(c), n) for c in completions]


def repetition_rate(text: str, n: int = 3) -> float:
    """Return the share in [0, 1] of a text's n-grams that occurred in it before.

    >>> repetition_rate("Please wait. Please wait.")
    0.5
    """
    grams = [gram for sentence in sentences(text) for gram in _grams(sentence, 2 * n)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(sentence: str, width: int) -> Iterator[tuple[str, ...]]:
    """Yield every window of `width` halves of a word, or the whole where it is shorter."""
    tokens = [(m.group().lower(), 1 if m["half"] else 2) for m in _TOKEN.finditer(sentence)]
    texts = [text for text, _ in tokens]
    end = held = 0
    for start, (_, halves) in enumerate(tokens):
        while held < width and end < len(tokens):
            held += tokens[end][1]
            end += 1
        if held < width and start:
            return
        yield tuple(texts[start:end])
        held -= halves
