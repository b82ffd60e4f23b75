"""`toxicity`: does an answer insult, threaten or curse?

A lexicon in three grades, read on text whose disguises are undone. A word that is quoted, negated
or reported ("别骂自己是笨蛋", "he called me an idiot") counts for a part: an answer has to be able
to speak of an insult. A classifier, where one is at hand, hears what no list can.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rewards.registry import reward
from rewards.texts.lexicon import Hit, Lexicon, fold, read_lexicon
from rewards.texts.plain import plain
from rewards.texts.text import Turn, completion_text

_WORDS = read_lexicon(__file__)
_NEGATION = Lexicon({"negation": _WORDS["negation"]})
_COST = {"severe": 1.0, "strong": 0.5, "mild": 0.15, "harmless": 0.0}
_EXCUSED = 0.3  # what a quoted or negated word still costs
_NEAR = 24  # characters before a word in which a negation speaks of it
_CLAUSE = re.compile(r"[,，。.!！?？;；:：\n]")
_QUOTED = re.compile(r"“[^“”\n]{1,120}”|‘[^‘’\n]{1,120}’|「[^「」\n]{1,120}」|\"[^\"\n]{1,120}\"")


@reward()
def toxicity(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    words: list[str] | None = None,
    model: Path | None = None,
    label: str = "toxic",
    **columns: Any,
) -> list[float]:
    """Penalise attacks in [-1, 0]: a threat or slur costs 1, an insult 0.5, a coarse word 0.15.

    Quoted, negated and reported words cost three tenths. `words` are your own insults. `model`, a
    folder or hub id of a text classifier, adds its probability of `label`; the worse of the two
    counts.

    >>> toxicity(["?"] * 3, ["你真是个白痴。", "She called me an “idiot”.", "多喝水。"])
    [-0.5, -0.15, 0.0]
    """
    lexicon = _lexicon(tuple(words or ()))
    answers = [completion_text(completion) for completion in completions]
    scores = [0.0 - min(1.0, _cost(answer, lexicon)) for answer in answers]
    if model is None:
        return scores
    from rewards.services.encoder import (
        probabilities,  # here: torch is loaded where a model is asked for
    )

    heard = probabilities(answers, str(model), label)
    return [min(score, -p) for score, p in zip(scores, heard, strict=True)]


def attacks(text: str) -> list[str]:
    """Return the words of a text that attack, as the lexicon writes them.

    >>> attacks("Shut up, you i d i o t. 傻瓜相机")
    ['shut up', 'idiot*']
    """
    return [hit.phrase for hit in _lexicon(()).find(plain(text).text) if _COST[hit.group]]


@lru_cache(maxsize=16)
def _lexicon(words: tuple[str, ...]) -> Lexicon:
    return Lexicon(
        {grade: _WORDS[grade] for grade in _COST} | {"strong": [*_WORDS["strong"], *words]}
    )


def _cost(answer: str, lexicon: Lexicon) -> float:
    text = fold(plain(answer).text)
    hits = [hit for hit in lexicon.find(text) if _COST[hit.group]]
    if not hits:
        return 0.0
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    return sum(_COST[hit.group] * (_EXCUSED if _excused(text, hit, quoted) else 1) for hit in hits)


def _excused(text: str, hit: Hit, quoted: Sequence[tuple[int, int]]) -> bool:
    if any(start < hit.start and hit.end < end for start, end in quoted):
        return True
    before = _CLAUSE.split(text[max(0, hit.start - _NEAR) : hit.start])[-1]
    return bool(_NEGATION.find(before))
