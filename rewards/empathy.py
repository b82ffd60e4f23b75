"""`empathy`: where a user is troubled, is that seen before advice is given?

The order matters: people who are told what to do before they feel heard hear neither. Only words
are looked at, so a kind phrase is worth its mark once; repeated, it takes the answer's place.
"""

from collections.abc import Sequence
from typing import Any

from rewards.errors import BadParameter
from rewards.length import count_tokens, smoothstep
from rewards.registry import reward
from rewards.texts.lexicon import Hit, Lexicon, read_lexicon
from rewards.texts.prose import last_user_text, prose
from rewards.texts.text import Turn, completion_text, sentences

_WORDS = read_lexicon(__file__)
_FEELINGS = Lexicon({"feelings": _WORDS["feelings"]})
# A waved-away feeling that holds a kind word ("别想太多") is found as the longer of the two.
_ANSWER = Lexicon({group: _WORDS[group] for group in ("advice", "acknowledge", "dismiss")})

_LATE = 0.5  # what seeing a feeling is worth after the advice
_GENERIC = 0.8  # and what it is worth without the words of a feeling
_HELP_TOKENS = 15  # kind words alone are no help


@reward()
def empathy(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    always: bool = False,
    share: float = 0.5,
    **columns: Any,
) -> list[float | None]:
    """Score in [0, 1] whether a feeling is acknowledged before the advice; None without a feeling.

    A row has one where the user's last turn speaks of it or the column `mood` names one;
    with `always` every row is scored. Acknowledging after the advice is worth half, naming the
    feeling a fifth more; waving it away costs all. Kind sentences that take more than `share` of
    the answer lower the score, as does an answer that helps with nothing.

    >>> empathy(["I'm so worried about my exam."], [
    ...     "I understand how worried you are. Try ten minutes of one chapter, then take a rest."])
    [1.0]
    """
    if not 0 < share <= 1:
        raise BadParameter(f"empathy needs 0 < share <= 1, not {share}")
    moods = columns.get("mood") or [None] * len(completions)
    return [
        _score(prose(completion_text(completion)), share)
        if always or _troubled(last_user_text(prompt), mood)
        else None
        for prompt, completion, mood in zip(prompts, completions, moods, strict=True)
    ]


def _troubled(said: str, mood: object) -> bool:
    named = isinstance(mood, str) and bool(_FEELINGS.find(mood))
    return named or bool(_FEELINGS.find(said))


def _score(answer: str, share: float) -> float:
    parts = sentences(answer)
    hits = [_ANSWER.find(part) for part in parts]
    seen = [at for at, found in enumerate(hits) if _has(found, "acknowledge")]
    if not seen or any(_has(found, "dismiss") for found in hits):
        return 0.0
    tokens = [count_tokens(part) for part in parts]
    kind = sum(tokens[at] for at in seen)
    help_ = smoothstep((sum(tokens) - kind * share) / _HELP_TOKENS)
    crowd = min(1.0, max(0.0, 2 - kind / (share * sum(tokens)))) if len(seen) > 1 else 1.0
    named = any(_FEELINGS.find(parts[at]) for at in seen)
    return _order(hits, seen[0]) * (1.0 if named else _GENERIC) * help_ * crowd


def _order(hits: Sequence[Sequence[Hit]], seen: int) -> float:
    """Return 1 where the feeling is seen no later than the first advice."""
    advised = next((at for at, found in enumerate(hits) if _has(found, "advice")), len(hits))
    if seen != advised:
        return 1.0 if seen < advised else _LATE
    first = next(hit for hit in hits[seen] if hit.group in ("acknowledge", "advice"))
    return 1.0 if first.group == "acknowledge" else _LATE


def _has(hits: Sequence[Hit], group: str) -> bool:
    return any(hit.group == group for hit in hits)
