"""The style `auto`: reads the user's mood and intent from their words and picks what fits both.

Weighted words (`auto_style.yaml`) speak for a mood or an intent; the first intent of a fixed order
that is spoken for wins, and a literal table gives its style. Words, not a model: the choice costs
less than a millisecond, is the same each time, and can be followed and added to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from unicodedata import normalize

from rlhf.chat import Message
from rlhf.serving.lexicon import Intent, Lexicon, Mood, Signal, read_lexicon
from rlhf.serving.phrases import ENDS, Match, plain, words

_HEAD, _TAIL = 300, 500  # characters read of a turn: a long one holds pasted matter in its middle
_BEFORE = 2  # earlier turns of the user that are read, for their mood alone
_FADED = 0.5  # what an earlier turn's mood still weighs
_ENOUGH = 2.0  # points that speak for a mood or an intent
_MOST = 6.0  # points of one signal that count: a long text is not a stronger one

_SIGNALS: tuple[Signal, ...] = get_args(Signal)
_TROUBLES: tuple[Mood, ...] = ("anxious", "sad", "frustrated")
_FEELINGS = frozenset({*_TROUBLES, "cheerful"})
_NOT = frozenset({"not", "no", "never", "without", "hardly", "cannot", "cant", "dont", "doesnt"})
_NOT_ZH = frozenset("不没無无未别勿")
_QUOTED = re.compile(r"[\"“”「」『』《》]([^\"“”「」『』《》\n]{1,30})[\"“”「」『』《》]")
_SHOUTED = re.compile(r"\b[A-Z]{2,20}(?:\s[A-Z]{2,20}){1,3}\b")

Points = dict[str, float]


@dataclass(frozen=True)
class Choice:
    """What was read, and the style that fits; None leaves the answer as the policy gives it."""

    style: str | None
    intent: Intent
    mood: Mood


def choose(messages: Sequence[Message], extra: Path | None = None) -> Choice:
    """Pick a style for the last user turn. `extra` is a YAML file of words beside the built-in.

    Raises `UsageError` for a file that can't be used.

    >>> choose([{"role": "user", "content": "都第三次了，怎么还没发货！！"}])
    Choice(style='concise+caring', intent='complaint', mood='frustrated')
    """
    lexicon = read_lexicon(extra)
    asked = [m["content"] for m in messages if m["role"] == "user"][-1 - _BEFORE :]
    if not asked:
        return Choice(None, "small talk", "calm")
    points = _points(asked[-1], lexicon)
    _add_moods_before(points, asked, lexicon)
    mood, intent = _mood(points), _intent(points)
    return Choice(_style(points, mood, intent, lexicon), intent, mood)


def _points(text: str, lexicon: Lexicon) -> Points:
    """What speaks for each signal in one turn; a phrase counts once."""
    read = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    read = normalize("NFKC", read)[: _HEAD + _TAIL + 1]  # it can lengthen a text 18 times
    folded = plain(read)
    said = words(folded)
    matches = [match for phrases in lexicon.phrases for match in phrases.find(said)]
    points: Points = dict.fromkeys(_SIGNALS, 0.0)
    speaking = {match.phrase: match.said for match in _meant(matches, said, _mentioned(folded))}
    for signal, weight in (each for some in speaking.values() for each in some):
        points[signal] += weight
    _emphasis(points, read, folded)
    return {signal: min(value, _MOST) for signal, value in points.items()}


def _meant(matches: list[Match], said: list[str], quoted: frozenset[str]) -> Iterator[Match]:
    """The matches without feelings that are only spoken about, or denied."""
    covered = {at for m in matches if m.end - m.start > 1 for at in range(m.start, m.end)}
    for match in matches:
        felt = [signal for signal, _ in match.said if signal in _FEELINGS]
        if not felt:
            yield match
        elif "".join(said[match.start : match.end]) in quoted:
            continue
        elif not _negated(said, match.start, covered):
            yield match
        elif "cheerful" in felt:
            weight = max(weight for _, weight in match.said)
            yield match._replace(phrase=("not", *match.phrase), said=(("frustrated", weight),))


def _mentioned(text: str) -> frozenset[str]:
    """What stands in quotation marks, word for word."""
    return frozenset("".join(words(m.group(1))) for m in _QUOTED.finditer(text))


def _negated(said: list[str], start: int, covered: set[int]) -> bool:
    """Whether a `not` stands up to three words before, in no phrase of its own (不好意思)."""
    for at in range(start - 1, max(start - 4, -1), -1):
        word = said[at]
        if word in ENDS:
            return False
        if at in covered:
            continue
        if word in _NOT or word.endswith("n't"):
            return True
        if word in _NOT_ZH and not (at and said[at - 1] == said[at + 1]):  # 开不开心 asks
            return True
    return False


def _emphasis(points: Points, read: str, folded: str) -> None:
    """A question mark asks; capitals and rows of marks are impatience, or strengthen a feeling."""
    points["asks"] += 1 if "?" in folded and len(folded) > 3 else 0
    shouted = max((len(m.group()) for m in _SHOUTED.finditer(read)), default=0)
    marks = folded.count("??") + folded.count("?!") + folded.count("!?")
    if shouted >= 10:
        points["frustrated"] += 2
    if marks and points["cheerful"] < _ENOUGH:
        points["frustrated"] += 1
    if "!!" in folded:
        for mood in _FEELINGS:
            points[mood] *= 1.5


def _add_moods_before(points: Points, asked: Sequence[str], lexicon: Lexicon) -> None:
    """An earlier turn's mood fades; asking the same again is impatience."""
    for age, text in enumerate(reversed(asked[:-1]), start=1):
        if text.strip() and text.strip() == asked[-1].strip():
            points["frustrated"] += 2
        before = _points(text, lexicon)
        for mood in _TROUBLES:
            points[mood] += before[mood] * _FADED**age


def _mood(points: Points) -> Mood:
    """The strongest of what is felt; trouble before joy, since thanks are often manners."""
    strongest = max(_TROUBLES, key=lambda mood: points[mood])
    if points[strongest] >= _ENOUGH:
        return strongest
    if points["urgent"] >= _ENOUGH:
        return "urgent"
    return "cheerful" if points["cheerful"] >= _ENOUGH else "calm"


def _intent(points: Points) -> Intent:
    """The first of a fixed order that enough speaks for."""
    p = points
    own, told = p["self"] > 0, p["asks"] == 0
    wrong = p["complaint"] + p["frustrated"]
    if p["anxious"] >= _ENOUGH and p["service"] >= _ENOUGH:
        wrong += p["anxious"]
    if told and p["service"] >= _ENOUGH and (own or p["addressed"]) and p["cheerful"] < _ENOUGH:
        wrong += 1  # who tells a shop what happened seldom praises it
    felt = p["sad"] + p["anxious"]
    knowledge = p["professional"] + p["academic"]
    ill = p["health"] + (1 if own and p["health"] else 0)
    learned = knowledge + (0 if own else 2 * (p["academic"] > 0))
    if p["emergency"] >= 3:
        return "emergency"
    if ill >= 3 and ill >= wrong and not (p["academic"] and learned > ill):
        return "health"
    if wrong >= _ENOUGH and wrong >= max(knowledge, felt + p["life"]):
        return "complaint"
    asked = knowledge >= 3 or (p["asks"] and knowledge >= _ENOUGH)
    if asked and (p["professional"] or p["academic"] >= _ENOUGH):
        return "professional"
    if felt + p["life"] >= _ENOUGH and felt >= 1:
        return "support"
    if p["chat"] >= 4:
        return "small talk"
    if p["asks"] or (p["service"] >= _ENOUGH > p["cheerful"]) or p["urgent"] >= _ENOUGH:
        return "how-to"
    return "small talk"


def _style(points: Points, mood: Mood, intent: Intent, lexicon: Lexicon) -> str | None:
    """The table's; a way of answering that the user asked for comes first."""
    if points["brief"] >= _ENOUGH:
        return "concise"
    if points["detailed"] >= _ENOUGH:
        return "formal"
    row = lexicon.styles[intent]
    return row.get(mood, row["other"])
