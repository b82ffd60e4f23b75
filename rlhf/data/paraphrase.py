"""Questions in other words, from a model; what is no paraphrase of its question is dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewards.texts.text import is_chinese
from rlhf.chat import Message
from rlhf.data.augmentation import Paraphrase, Reworder
from rlhf.data.exact_keys import exact_key
from rlhf.sampling import Prompt, Sampler, Sampling

_ASK_ZH = "请用另一种说法改写下面的问题，意思不变。只写改写后的问题。\n\n{question}"
_ASK_EN = (
    "Rewrite the question below in other words with the same meaning. "
    "Write the rewritten question only.\n\n{question}"
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PLACEHOLDER = re.compile(r"<[A-Z_]{2,20}>")
# A wording far shorter has lost something, one far longer has made something up or answers.
_LENGTHS = (0.4, 2.5)


def reworder(sampler: Sampler, settings: Paraphrase) -> Reworder:
    """What `augmented` asks for wordings."""
    sampling = Sampling(
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        batch_size=settings.batch_size,
    )

    def reword(questions: Sequence[str], wordings: int, seed: int) -> list[list[str]]:
        prompts = [_prompt(question) for question in questions for _ in range(wordings)]
        said = sampler.sample(prompts, sampling, seed=seed)
        whole = [c.text.strip() if c.finish_reason == "stop" else "" for c in said]
        return [
            [t for t in whole[i * wordings : (i + 1) * wordings] if is_paraphrase(question, t)]
            for i, question in enumerate(questions)
        ]

    return reword


def _prompt(question: str) -> Prompt:
    ask = _ASK_ZH if is_chinese(question) else _ASK_EN
    message: Message = {"role": "user", "content": ask.format(question=question)}
    return Prompt((message,))


def is_paraphrase(question: str, wording: str) -> bool:
    """Whether it may be one: like in length and language, with the same numbers and placeholders.

    Whether it means the same no rule can tell; a wording that keeps less than this surely doesn't.
    """
    shortest, longest = (share * len(question) for share in _LENGTHS)
    return (
        shortest <= len(wording) <= longest
        and is_chinese(wording) == is_chinese(question)
        and _kept(question) == _kept(wording)
        and exact_key(wording) != exact_key(question)
    )


def _kept(text: str) -> list[str]:
    return sorted([*_NUMBER.findall(text), *_PLACEHOLDER.findall(text)])
