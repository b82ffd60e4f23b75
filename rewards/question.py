"""`question`: does an answer hand the word back, asking or offering the next step?

"先做深呼吸可以缓解紧张。需要我提供放松技巧吗？" does. A question counts where a person would
answer it, at the end; one after the other is an interrogation, and one alone is no answer.
"""

import re
from collections.abc import Sequence
from typing import Any

from rewards.errors import BadParameter
from rewards.length import count_tokens, smoothstep
from rewards.registry import reward
from rewards.texts.lexicon import Lexicon, read_lexicon
from rewards.texts.prose import prose
from rewards.texts.text import Turn, completion_text, sentences

_WORDS = read_lexicon(__file__)
_OFFERS = Lexicon({"offer": _WORDS["offer"]})
_MARK = re.compile(r"[?？][!！?？.。…~～]*[”’\"')）]*$")
_UNMARKED = re.compile(rf"(?:{'|'.join(_WORDS['asks'])})[。.!！~～…]*$")
_CLOSING = 2  # sentences at the end where the word is handed back
_ELSEWHERE = 0.4
_SUBSTANCE_TOKENS = 12


@reward()
def question(
    prompts: Sequence[Turn], completions: Sequence[Turn], *, most: int = 2, **columns: Any
) -> list[float]:
    """Score in [0, 1] whether an answer closes by asking back or offering the next step.

    A question further up is worth 0.4. More than `most` questions lower the score, and so does an
    answer that says little else. Code, addresses and quoted questions ask nothing.

    >>> question(["睡不着"] * 2, [
    ...     "睡前可以做几次深呼吸，把灯光调暗。需要我提供放松技巧吗？", "早点睡觉。"])
    [1.0, 0.0]
    """
    if most < 1:
        raise BadParameter(f"question needs most >= 1, not {most}")
    return [_score(prose(completion_text(completion)), most) for completion in completions]


def asks(sentence: str) -> bool:
    """Tell whether a sentence is a question.

    >>> asks("好吗"), asks("Is it open?"), asks("It is open."), asks("He asked “why?”")
    (True, True, False, False)
    """
    if _UNMARKED.search(sentence):
        return True
    marked = _MARK.search(sentence)
    return marked is not None and not _quoted(sentence, marked)


def _score(text: str, most: int) -> float:
    parts = sentences(text)
    asking = [asks(part) for part in parts]
    handed = [ask or bool(_OFFERS.find(p)) for p, ask in zip(parts, asking, strict=True)]
    if not any(handed):
        return 0.0
    place = 1.0 if any(handed[-_CLOSING:]) else _ELSEWHERE
    told = sum(count_tokens(p) for p, hands in zip(parts, handed, strict=True) if not hands)
    return place * min(1.0, most / max(1, sum(handed))) * smoothstep(told / _SUBSTANCE_TOKENS)


def _quoted(sentence: str, marked: re.Match[str]) -> bool:
    """Tell whether the question is reported: its closing quote opened after other words."""
    closing = marked.group()[-1]
    opening = {"”": "“", "’": "‘", '"': '"', "'": "'"}.get(closing)
    return opening is not None and sentence.find(opening, 0, marked.start()) > 0
