"""Other wordings of a question from YAML: synonyms, polite frames, another order of sentences.

```yaml
synonyms:
  - [怎么办, 该怎么处理]       # each may stand for each
frames:
  - "请问，{question}"
slots: {greeting: [您好, 你好]}
order: true                  # a question of two sentences or more may begin with its last
```
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from rlhf.config import Settings, load, validate

_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?\n]*")
# What leans on the sentence before it cannot come first.
_LEANS = re.compile(
    r"但|而|所以|因此|因为|然后|那|这|它|他|她|还|也|又|(?:and|but|so|it|they|this|that|then)\b",
    re.IGNORECASE,
)
_LONGEST_ASKED = 40
_TRIES = 8
"""Draws for one wording: a question without any synonym soon has none left."""

Text = Annotated[str, Field(min_length=1, max_length=200)]


class Templates(Settings):
    """The file of wordings."""

    synonyms: tuple[Annotated[tuple[Text, ...], Field(min_length=2)], ...] = ()
    """Groups of words; one that a question holds may be replaced by another of its group."""
    frames: tuple[Text, ...] = ()
    """Sentences around the question: `{question}` and the names of slots in braces."""
    slots: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(default={})
    """What may fill a frame's slots."""
    order: bool = False
    """Whether a short last sentence that asks may come first."""

    @model_validator(mode="after")
    def _fits(self) -> Templates:
        for frame in self.frames:
            named = _SLOT.findall(frame)
            if named.count("question") != 1:
                raise ValueError(f"the frame {frame!r} needs `{{question}}` once")
            unknown = sorted(set(named) - {"question", *self.slots})
            if unknown:
                raise ValueError(f"the frame {frame!r} has no slot `{unknown[0]}` to fill it")
        if not (self.synonyms or self.frames or self.order):
            raise ValueError("no wordings: give `synonyms`, `frames` or `order`")
        return self


class Wordings:
    """Draws wordings from templates."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self._others = {
            word.lower(): [other for other in group if other != word]
            for group in templates.synonyms
            for word in group
        }
        # Longest first, so that 怎么办 is not read as 怎么. Latin words are whole words only.
        known = sorted(self._others, key=len, reverse=True)
        spelt = [rf"\b{re.escape(w)}\b" if w.isascii() else re.escape(w) for w in known]
        self._known = re.compile("|".join(spelt) or "(?!)", re.IGNORECASE)

    @classmethod
    def read(cls, path: Path) -> Wordings:
        """Raises `UsageError` for a file that can't be used."""
        return cls(validate(Templates, load(path), str(path)))

    def of(self, question: str, most: int, rng: random.Random) -> Iterator[str]:
        """Up to `most` wordings, each another than the question and than those before."""
        said = {question}
        for _ in range(most * _TRIES):
            if len(said) > most:
                return
            wording = self._draw(question, rng)
            if wording not in said:
                said.add(wording)
                yield wording

    def _draw(self, question: str, rng: random.Random) -> str:
        """Each kind of change by a coin: a question changed in every way is nobody's."""
        if self._templates.order and rng.random() < 0.5:
            question = _last_first(question)
        if rng.random() < 0.75:
            question = self._known.sub(lambda found: self._other(found[0], rng), question)
        if self._templates.frames and rng.random() < 0.5:
            question = self._framed(question, rng)
        return question

    def _other(self, word: str, rng: random.Random) -> str:
        drawn = rng.choice([word, *self._others[word.lower()]])
        return drawn[0].upper() + drawn[1:] if word[0].isupper() else drawn

    def _framed(self, question: str, rng: random.Random) -> str:
        """In a frame; a question that already greets or thanks stays as it is."""
        said = [text for texts in self._templates.slots.values() for text in texts]
        if any(text.lower().rstrip("！。.!，,") in question.lower() for text in said):
            return question
        fill = {name: rng.choice(values) for name, values in self._templates.slots.items()}
        fill["question"] = question
        return _SLOT.sub(lambda m: fill[m[1]], rng.choice(self._templates.frames))


def _last_first(question: str) -> str:
    """A short question before its circumstances: `头痛。怎么办？` → `怎么办？头痛。`."""
    sentences = _SENTENCE.findall(question)
    last = sentences[-1].strip() if len(sentences) > 1 else ""
    asks = last.endswith(("？", "?")) and len(last) <= _LONGEST_ASKED
    if not asks or _LEANS.match(last):
        return question
    gap = " " if question.isascii() else ""
    return gap.join(sentence.strip() for sentence in (last, *sentences[:-1]))
