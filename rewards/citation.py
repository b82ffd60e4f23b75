"""`citation`: are an answer's claims backed by sources, and by sources that exist?

[1], [2, 3], （来源：…）, (source: …) and web addresses are citations. Against the column `sources`
an invented number or address counts against the answer, and so does a source that shares no word
with the sentence it is to support. Without that column an answer's own list of references serves.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.errors import BadParameter
from rewards.length import count_tokens
from rewards.registry import reward
from rewards.relevance import content_terms
from rewards.texts.prose import URL
from rewards.texts.text import Turn, completion_text, sentences

_NUMBERS = re.compile(r"\[\^?(\d{1,4}(?:\s?[,，、;–-]\s?\d{1,4}){0,20})\]|【(\d{1,4})】")
_NAMED = re.compile(
    r"[（(]\s?(?:来源|出处|引自|参考|据|sources?|ref|see|cf\.)\s?[:：]?\s?([^()（）\n]{2,200})[)）]",
    re.I,
)
_REFERENCE = re.compile(
    r"(?m)^[ \t]*(?:[-*]\s)?(?:\[\^?(\d{1,4})\]|【(\d{1,4})】)[ \t]*[:：]?[ \t]*\S.*$"
)
_CLAIM_TOKENS = 6  # a shorter sentence greets or leads over
_TEXT_TERMS = 8  # a source of fewer content words is a title or an address, not a text


@dataclass(frozen=True)
class _Sources:
    """What may be cited: texts by number, addresses, and whether that is all there is."""

    texts: Mapping[str, str]
    urls: frozenset[str]
    given: bool


@reward()
def citation(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    enough: float = 0.5,
    required: bool = False,
    **columns: Any,
) -> list[float | None]:
    """Score in [-1, 1]: the share of claims with a good citation, less the share of bad citations.

    1 is reached where the share `enough` of the sentences that claim something is backed. The
    column `sources` holds each row's sources: a list of texts or addresses, numbered from 1, or a
    mapping from number to text. None where a row has neither sources nor citations, unless
    citations are `required`.

    >>> citation(["?"] * 2, ["Tea holds less caffeine than coffee [1].", "Tea cures colds [7]."],
    ...     sources=[["Coffee has more caffeine than tea."]] * 2)
    [1.0, -1.0]
    """
    if not 0 < enough <= 1:
        raise BadParameter(f"citation needs 0 < enough <= 1, not {enough}")
    given = columns.get("sources") or [None] * len(completions)
    return [
        _score(completion_text(completion), sources, enough, required)
        for completion, sources in zip(completions, given, strict=True)
    ]


def _score(answer: str, given: object, enough: float, required: bool) -> float | None:
    known = _known(given, answer)
    body = _REFERENCE.sub("", answer)
    claims = backed = good = bad = 0
    for sentence in sentences(_joined(body)):
        verdicts = [_holds(sentence, cited, known) for cited in _cited(sentence)]
        good, bad = good + sum(verdicts), bad + len(verdicts) - sum(verdicts)
        if verdicts or _claims(sentence):
            claims += 1
            backed += bool(verdicts) and all(verdicts)
    if not (known.given or required or good or bad):
        return None
    share = backed / claims if claims else 0.0
    return min(1.0, share / enough) - (bad / (good + bad) if bad else 0.0)


def _cited(sentence: str) -> set[tuple[str, str]]:
    """Return the different citations of a sentence, as (kind, what)."""
    found = {("url", match.group().rstrip(".,;:!?").lower()) for match in URL.finditer(sentence)}
    for match in _NUMBERS.finditer(sentence):
        found |= {("number", str(number)) for number in _expanded(match[1] or match[2])}
    if not any(kind == "url" for kind, _ in found):
        found |= {("named", match[1].strip().lower()) for match in _NAMED.finditer(sentence)}
    return found


def _expanded(written: str) -> list[int]:
    """Read "1, 3-5"; of a range that is absurd only the ends."""
    numbers: list[int] = []
    for part in re.split(r"[,，、;]", written):
        ends = [int(end) for end in re.split(r"[–-]", part)]
        whole = len(ends) == 2 and 0 < ends[1] - ends[0] <= 20
        numbers.extend(range(ends[0], ends[1] + 1) if whole else ends)
    return numbers


def _holds(sentence: str, cited: tuple[str, str], known: _Sources) -> bool:
    kind, what = cited
    if kind == "number":
        return what in known.texts and _supports(known.texts[what], sentence)
    if not known.given:
        return True  # nothing to hold it against
    if kind == "url":
        return what.rstrip("/") in known.urls
    return any(what in text.lower() for text in known.texts.values())


def _supports(source: str, sentence: str) -> bool:
    """Tell whether a source's text has a word of the sentence; a mere title or address passes."""
    terms = set(content_terms(URL.sub(" ", source)))
    said = set(content_terms(_NUMBERS.sub(" ", sentence)))
    return len(terms) < _TEXT_TERMS or bool(terms & said)


def _known(given: object, answer: str) -> _Sources:
    texts: dict[str, str] = {}
    if isinstance(given, Mapping):
        texts = {str(number): str(text) for number, text in given.items()}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        texts = {str(number): str(text) for number, text in enumerate(given, start=1)}
    elif given is not None:
        texts = {"1": str(given)}
    if texts:
        found = (match.group() for text in texts.values() for match in URL.finditer(text))
        urls = frozenset(url.rstrip(".,;:!?/").lower() for url in found)
        return _Sources(texts, urls, given=True)
    listed = {match[1] or match[2]: "" for match in _REFERENCE.finditer(answer)}
    return _Sources(listed, frozenset(), given=given is not None)


def _joined(body: str) -> str:
    """Draw a citation that follows the full stop into the sentence before it."""
    return re.sub(r"([。.!?！？])[ \t]?((?:\[\^?[\d,，、;–\- ]{1,80}\])+)", r" \2\1", body)


def _claims(sentence: str) -> bool:
    return not sentence.endswith(("?", "？")) and count_tokens(sentence) >= _CLAIM_TOKENS
