"""What the votes say, by what they speak of: a prompt, an answer, a pair of answers."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from feedback_store.snapshots.manifest import SnapshotRules, quoted


class Prompt(NamedTuple):
    """The messages, as a line of canonical JSON, and the style that was asked for."""

    messages: str
    style: str | None
    head: str
    """Both as the first items of a canonical list: spelled once for all of the prompt's rows."""

    @classmethod
    def of(cls, messages: str, style: str | None) -> "Prompt":
        """The prompt."""
        return cls(messages, style, f"[{quoted(messages)},{quoted(style)},")


class Answer(NamedTuple):
    """One interaction, as far as a row needs it."""

    prompt: Prompt
    response: str
    conversation: str
    intent: str | None
    policy: str | None
    held_out: bool


class Word(NamedTuple):
    """A live vote on one answer."""

    seq: int
    simulated: bool
    answer: int
    """Its interaction's `seq`."""
    id: str
    voter: str
    metric: str
    kind: str
    value: float | None
    """On its kind's own scale, more being better."""
    text: str | None
    when: int
    """Microseconds since the year 1."""


class Preference(NamedTuple):
    """A live choice between two answers; the fields are named as in `Word`."""

    seq: int
    simulated: bool
    a: int
    b: int
    id: str
    voter: str
    choice: Literal["a", "b", "tie", "both_bad"]
    shown_first: Literal["a", "b"] | None
    when: int


Text = tuple[Prompt, str]
Pair = tuple[Prompt, str, str]
Choice = tuple[Prompt, str, str, str, Literal["a", "b"] | None]


@dataclass(slots=True)
class Tally:
    """All that was said of one thing; by voter, so that two metrics aren't two people."""

    values: dict[str, list[float]] = field(default_factory=dict)
    votes: set[str] = field(default_factory=set)
    conversations: set[str] = field(default_factory=set)
    intents: set[str] = field(default_factory=set)
    policies: set[str] = field(default_factory=set)
    newest: int = 0
    _means: list[float] | None = None
    _mean: float | None = None

    def see(self, answer: Answer, *, named: bool = True) -> None:
        """Note an answer that the thing came up in; `named` by its conversation too."""
        if named:
            self.conversations.add(answer.conversation)
        if answer.intent:
            self.intents.add(answer.intent)
        if answer.policy:
            self.policies.add(answer.policy)

    def at(self, when: int) -> None:
        """Note a moment at which it came up."""
        if when > self.newest:
            self.newest = when

    def hear(self, vote: Word | Preference, value: float) -> None:
        """Note what somebody said of it, in [-1, 1]."""
        self.values.setdefault(vote.voter, []).append(value)
        self.votes.add(vote.id)
        self._means = self._mean = None
        if vote.when > self.newest:
            self.newest = vote.when

    def take(self, other: "Tally", sign: float) -> None:
        """Add another tally's words, for (1) or against (-1)."""
        for voter, values in other.values.items():
            self.values.setdefault(voter, []).extend([sign * value for value in values])
        self.votes |= other.votes
        self.conversations |= other.conversations
        self.intents |= other.intents
        self.policies |= other.policies
        self._means = self._mean = None
        self.at(other.newest)

    def means(self) -> list[float]:
        """Each voter's mean."""
        if self._means is None:
            self._means = [
                math.fsum(values) / len(values) if len(values) > 1 else values[0]
                for values in self.values.values()
            ]
        return self._means

    def mean(self) -> float:
        """The mean over voters of each one's mean."""
        if self._mean is None:
            means = self.means()
            # fsum is exact, so the order in which votes came can't show.
            self._mean = math.fsum(means) / len(means)
        return self._mean


@dataclass
class Evidence:
    """One side of the split."""

    prompts: dict[Prompt, Tally] = field(default_factory=lambda: defaultdict(Tally))
    answers: dict[Text, Tally] = field(default_factory=lambda: defaultdict(Tally))
    corrections: dict[Text, Tally] = field(default_factory=lambda: defaultdict(Tally))
    pairs: dict[Pair, Tally] = field(default_factory=lambda: defaultdict(Tally))
    choices: dict[Choice, Tally] = field(default_factory=lambda: defaultdict(Tally))
    unfinished: set[Text] = field(default_factory=set)
    """Answers that were only ever cut off by a limit: they have no end to learn."""

    def prefer(self, chosen: str, rejected: str, prompt: Prompt) -> tuple[Tally, float]:
        """The pair's tally and the sign that means `chosen`: a pair is kept one way round."""
        if chosen < rejected:
            return self.pairs[prompt, chosen, rejected], 1.0
        return self.pairs[prompt, rejected, chosen], -1.0


class Part:
    """All that was said of some prompts, on a training and a held-out side."""

    def __init__(
        self, rules: SnapshotRules, counts: Counter[str], dropped: dict[str, Counter[str]]
    ) -> None:
        self.rules = rules
        self.training = Evidence()
        self.held_out = Evidence()
        self.counts = counts
        self.dropped = dropped
        self._answers: dict[int, Answer] = {}
        self._finished: set[Text] = set()
        self._hashes: dict[Prompt, str] = {}

    def answer(self, seq: int, answer: Answer, same: str, cut_off: bool, when: int) -> None:
        """Note an answer; `same` is what its prompt's trivial variants have in common."""
        self._answers[seq] = answer
        self._hashes[answer.prompt] = same
        text = (answer.prompt, answer.response)
        if cut_off:
            self.training.unfinished.add(text)
            self.held_out.unfinished.add(text)
        else:
            self._finished.add(text)
        tally = self._side(answer).prompts[answer.prompt]
        tally.see(answer)
        tally.at(when)

    def word(self, word: Word, weight: float) -> None:
        """Note a vote on an answer that was noted, and how far it can be believed, in [0, 1]."""
        answer = self._answers[word.answer]
        if word.kind == "correction":
            self._correction(word, answer, weight)
        elif word.kind in ("thumb", "rating"):
            value = _direction(word, self.rules)
            if value == 0:
                self.counts["neutral"] += 1
                return
            tally = self._side(answer).answers[answer.prompt, answer.response]
            tally.see(answer)
            tally.hear(word, value * weight)

    def preference(self, vote: Preference, weight: float) -> None:
        """Note a choice between two answers that were noted; `weight` as in `word`."""
        a, b = self._answers[vote.a], self._answers[vote.b]
        if a.prompt != b.prompt:
            self.dropped["votes"]["different_prompts"] += 1
        elif a.response == b.response:
            self.dropped["votes"]["identical"] += 1
        else:
            self._choice(vote, a, b, weight)

    def close(self) -> None:
        """Call it when all is noted."""
        for side in (self.training, self.held_out):
            side.unfinished -= self._finished

    def leaks(self) -> set[Prompt]:
        """The training prompts that are, but for trivial changes, held out too."""
        kept_aside = {self._hashes[prompt] for prompt in self.held_out.prompts}
        if not kept_aside:
            return set()
        return {prompt for prompt in self.training.prompts if self._hashes[prompt] in kept_aside}

    def _correction(self, word: Word, answer: Answer, weight: float) -> None:
        text = word.text or ""
        if text == answer.response:
            self.dropped["votes"]["identical"] += 1
            return
        side = self._side(answer)
        pair, sign = side.prefer(text, answer.response, answer.prompt)
        for tally, value in ((side.corrections[answer.prompt, text], 1.0), (pair, sign)):
            tally.see(answer)
            tally.hear(word, value * weight)

    def _choice(self, vote: Preference, a: Answer, b: Answer, weight: float) -> None:
        side = self.held_out if a.held_out or b.held_out else self.training
        heard: list[tuple[Tally, float]] = []
        if side is self.held_out:
            choice = (a.prompt, a.response, b.response, vote.choice, vote.shown_first)
            heard.append((side.choices[choice], 1.0))
        if vote.choice == "tie":
            self.counts["ties"] += 1
        elif vote.choice == "both_bad":
            self.counts["both_bad"] += 1
            heard += [(side.answers[text.prompt, text.response], -1.0) for text in (a, b)]
        else:
            chosen, rejected = (a, b) if vote.choice == "a" else (b, a)
            heard.append(side.prefer(chosen.response, rejected.response, a.prompt))
        for tally, value in heard:
            for answer in (a, b):
                # A pair across the split is held out, and known by its held-out side alone.
                tally.see(answer, named=answer.held_out or side is self.training)
            tally.hear(vote, value * weight)

    def _side(self, answer: Answer) -> Evidence:
        return self.held_out if answer.held_out else self.training


def _direction(word: Word, rules: SnapshotRules) -> float:
    value = word.value or 0.0
    if word.kind == "thumb":
        return value
    return float(value >= rules.rating_up) - float(value <= rules.rating_down)
