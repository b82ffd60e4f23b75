"""`terminology`: does an answer use the field's words, in sentences, and not their lay stand-ins?

A glossary says which word is right and which are wrong; what the question speaks of decides which
of its words are called for. A term counts in a sentence that says something beside it, and terms
that fill the answer lower the score: a list of them is no answer.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rewards.errors import BadParameter
from rewards.glossary import Glossary, load_glossary
from rewards.length import count_tokens
from rewards.registry import reward
from rewards.texts.lexicon import Hit
from rewards.texts.prose import last_user_text, prose
from rewards.texts.text import Turn, completion_text, sentences

_BESIDE_TOKENS = 3  # what a sentence says beside its terms, so that they stand in context


@reward()
def terminology(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    glossary: Path | list[dict[str, Any]] | None = None,
    density: float = 0.35,
    **columns: Any,
) -> list[float | None]:
    """Score in [-1, 1]: the share of the terms called for that are used, less those said wrongly.

    None where neither the question nor the answer speaks of anything in the glossary. Above the
    share `density` of an answer's tokens, terms earn less, and nothing at twice that. `glossary`
    is a YAML file, or a list such as `[{term: 退款, avoid: [退钱]}]`; `terminology.yaml` serves
    where none is given.

    >>> terminology(["东西坏了，能退钱吗？"] * 2, [
    ...     "可以的，申请以后退款会在三天内到账，产品也在保修期内。", "可以退钱，免费修也行。"])
    [1.0, -1.0]
    """
    if not 0 < density <= 1:
        raise BadParameter(f"terminology needs 0 < density <= 1, not {density}")
    known = load_glossary(glossary)
    return [
        _score(known, last_user_text(prompt), prose(completion_text(completion)), density)
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def _score(glossary: Glossary, question: str, answer: str, density: float) -> float | None:
    wrong = _entries(glossary.wrong.find(answer))
    asked = _entries([*glossary.asked.find(question), *glossary.wrong.find(question)])
    used, tokens = _in_context(glossary, answer)
    wanted = asked | wrong | used
    if not wanted:
        return None
    share = tokens / max(count_tokens(answer), 1.0)
    plain = min(1.0, max(0.0, 2 - share / density))
    return (len(used - wrong) * plain - len(wrong)) / len(wanted)


def _in_context(glossary: Glossary, answer: str) -> tuple[set[str], float]:
    """Return the entries used in a sentence that says more, and the tokens of all terms.

    A term inside a wrong phrase ("高血压" in "高血压病症") is not used.
    """
    used: set[str] = set()
    total = 0.0
    for sentence in sentences(answer):
        wrong = {at for hit in glossary.wrong.find(sentence) for at in range(hit.start, hit.end)}
        hits = [hit for hit in glossary.right.find(sentence) if hit.start not in wrong]
        terms = sum(count_tokens(sentence[hit.start : hit.end]) for hit in hits)
        total += terms
        if hits and count_tokens(sentence) - terms >= _BESIDE_TOKENS:
            used |= _entries(hits)
    return used, total


def _entries(hits: Iterable[Hit]) -> set[str]:
    return {hit.group for hit in hits}
