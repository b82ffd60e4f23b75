"""What the training benchmarks learn from: the example dialogues' words in random sentences.

Nothing in them can be learned, so every side's loss stays near where it starts; their lengths are
those of short questions and answers, or of answers to one long prompt.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

Row = dict[str, Any]
Mix = Literal["short", "long"]

_DIALOGUES = Path(__file__).parents[1] / "configs" / "examples" / "dialogues_en.jsonl"
# Words of a prompt; 800 are about 1,000 tokens of SmolLM2's.
_PROMPT_WORDS: dict[Mix, tuple[int, int]] = {"short": (10, 80), "long": (800, 800)}
_ANSWER_MEDIAN, _ANSWER_SIGMA = 33, 0.6
_SEED = 1


def pairs(mix: Mix, count: int) -> list[Row]:
    """TRL's preference rows, conversational."""
    texts = _texts(mix)
    return [
        {
            "prompt": _turn("user", prompt),
            "chosen": _turn("assistant", first),
            "rejected": _turn("assistant", second),
        }
        for prompt, first, second in (next(texts) for _ in range(count))
    ]


def votes(mix: Mix, count: int) -> list[Row]:
    """TRL's unpaired rows, up and down in turns: KTO wants both in every batch."""
    rows = dialogues(mix, count)
    return [{**row, "label": number % 2 == 0} for number, row in enumerate(rows)]


def dialogues(mix: Mix, count: int) -> list[Row]:
    """TRL's prompt-completion rows."""
    texts = _texts(mix)
    return [
        {"prompt": _turn("user", prompt), "completion": _turn("assistant", answer)}
        for prompt, answer, _ in (next(texts) for _ in range(count))
    ]


def words_of(row: Row) -> int:
    """Of the prompt and the longer of its answers: what padding goes by."""
    sizes = {
        name: sum(len(turn["content"].split()) for turn in turns)
        for name, turns in row.items()
        if isinstance(turns, list)
    }
    return sizes.pop("prompt") + max(sizes.values())


def _turn(role: str, text: str) -> list[Row]:
    return [{"role": role, "content": text}]


def words() -> list[str]:
    """All words of the example dialogues' answers, in their order."""
    lines = _DIALOGUES.read_text(encoding="utf-8").splitlines()
    responses = [json.loads(line)["response"].removeprefix("Assistant: ") for line in lines]
    return [word for response in responses for word in response.split()]


def _texts(mix: Mix) -> Iterator[tuple[str, str, str]]:
    """A prompt and two answers, without end; fewer rows are the first of more."""
    known, rng = words(), random.Random(_SEED)

    def sentence(count: int) -> str:
        return " ".join(rng.choice(known) for _ in range(max(1, count)))

    def answer() -> str:
        return sentence(int(_ANSWER_MEDIAN * math.exp(rng.gauss(0, _ANSWER_SIGMA))))

    while True:
        yield sentence(rng.randint(*_PROMPT_WORDS[mix])), answer(), answer()


RowsOf = Callable[[Mix, int], list[Row]]
