"""What the votes say, gathered by what they speak of: a prompt, an answer, a pair of answers."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from feedback_store.manifest import SnapshotRules, canonical
from feedback_store.schema import Comparison, Feedback, Interaction
from feedback_store.split import is_held_out
from feedback_store.store import Store
from feedback_store.trust import trust_as_of


class Prompt(NamedTuple):
    """The messages, as canonical JSON, and the style that was asked for."""

    messages: str
    style: str | None


class Answer(NamedTuple):
    """One interaction, as far as a row needs it."""

    prompt: Prompt
    response: str
    conversation: str
    intent: str | None
    policy: str | None
    held_out: bool


Text = tuple[Prompt, str]
Pair = tuple[Prompt, str, str]
Choice = tuple[Prompt, str, str, str, Literal["a", "b"] | None]


@dataclass(slots=True)
class Tally:
    """All that was said of one thing; by voter, so that two metrics aren't two people."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    votes: set[str] = field(default_factory=set)
    conversations: set[str] = field(default_factory=set)
    intents: set[str] = field(default_factory=set)
    policies: set[str] = field(default_factory=set)
    newest: datetime | None = None

    def see(self, answers: Iterable[Answer], when: datetime | None) -> None:
        """Note where the thing came up."""
        answers = list(answers)
        # A pair across the split is held out, and is then known by its held-out side alone.
        held_out = [answer for answer in answers if answer.held_out]
        self.conversations |= {answer.conversation for answer in held_out or answers}
        self.intents |= {answer.intent for answer in answers if answer.intent}
        self.policies |= {answer.policy for answer in answers if answer.policy}
        self._at(when)

    def hear(self, vote: Feedback | Comparison, value: float) -> None:
        """Note what somebody said of it, in [-1, 1]."""
        self.values[vote.voter].append(value)
        self.votes.add(vote.id)
        self._at(vote.created_at)

    def take(self, other: "Tally", sign: float) -> None:
        """Add another tally's words, for (1) or against (-1)."""
        for voter, values in other.values.items():
            self.values[voter] += [sign * value for value in values]
        self.votes |= other.votes
        self.conversations |= other.conversations
        self.intents |= other.intents
        self.policies |= other.policies
        self._at(other.newest)

    def _at(self, when: datetime | None) -> None:
        if when and (self.newest is None or when > self.newest):
            self.newest = when


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


class Gathering:
    """Reads a store up to a watermark into a training and a held-out side."""

    def __init__(self, store: Store, rules: SnapshotRules, watermark: int) -> None:
        self.rules = rules
        self.training = Evidence()
        self.held_out = Evidence()
        self.counts: Counter[str] = Counter()
        self.dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.newest: datetime | None = None
        self.trust = trust_as_of(store, rules, watermark)
        self._answers: dict[str, Answer] = {}
        self._finished: set[Text] = set()
        for interaction in store.interactions(project=rules.project, upto=watermark):
            self._interaction(interaction)
        for word in store.feedback(project=rules.project, upto=watermark):
            self._feedback(word)
        for comparison in store.comparisons(project=rules.project, upto=watermark):
            self._comparison(comparison)
        for side in (self.training, self.held_out):
            side.unfinished -= self._finished

    def _interaction(self, row: Interaction) -> None:
        self._count("interactions", row.created_at)
        if reason := _left_out(row, self.rules):
            self.dropped["interactions"][reason] += 1
            return
        messages = canonical([message.model_dump() for message in row.messages]).decode()
        answer = Answer(
            prompt=Prompt(messages, row.style),
            response=row.response,
            conversation=row.conversation,
            intent=row.intent,
            policy=row.policy,
            held_out=is_held_out(row.conversation, self.rules.held_out, self.rules.salt),
        )
        self._answers[row.id] = answer
        text = (answer.prompt, answer.response)
        if row.finish_reason == "length":
            self.training.unfinished.add(text)
            self.held_out.unfinished.add(text)
        else:
            self._finished.add(text)
        self._side(answer).prompts[answer.prompt].see([answer], row.created_at)

    def _feedback(self, word: Feedback) -> None:
        self._count(word.kind, word.created_at)
        answer = self._answers.get(word.interaction)
        if word.simulated and not self.rules.include_simulated:
            self.dropped["votes"]["simulated"] += 1
        elif held := self.trust.held(word):
            self.dropped["votes"][held] += 1
        elif answer is None:
            self.dropped["votes"]["interaction_left_out"] += 1
        elif word.kind == "correction":
            self._correction(word, answer)
        elif word.kind in ("thumb", "rating"):
            value = _direction(word, self.rules)
            if value == 0:
                self.counts["neutral"] += 1
                return
            tally = self._side(answer).answers[answer.prompt, answer.response]
            tally.see([answer], word.created_at)
            tally.hear(word, value * self.trust.weight(word))

    def _correction(self, word: Feedback, answer: Answer) -> None:
        text = word.text or ""
        if text == answer.response:
            self.dropped["votes"]["identical"] += 1
            return
        side = self._side(answer)
        pair, sign = side.prefer(text, answer.response, answer.prompt)
        for tally, value in ((side.corrections[answer.prompt, text], 1.0), (pair, sign)):
            tally.see([answer], word.created_at)
            tally.hear(word, value * self.trust.weight(word))

    def _comparison(self, vote: Comparison) -> None:
        self._count("comparison", vote.created_at)
        a, b = self._answers.get(vote.a), self._answers.get(vote.b)
        if vote.simulated and not self.rules.include_simulated:
            self.dropped["votes"]["simulated"] += 1
        elif held := self.trust.held(vote):
            self.dropped["votes"][held] += 1
        elif a is None or b is None:
            self.dropped["votes"]["interaction_left_out"] += 1
        elif a.prompt != b.prompt:
            self.dropped["votes"]["different_prompts"] += 1
        elif a.response == b.response:
            self.dropped["votes"]["identical"] += 1
        else:
            self._choice(vote, a, b)

    def _choice(self, vote: Comparison, a: Answer, b: Answer) -> None:
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
            tally.see([a, b], vote.created_at)
            tally.hear(vote, value * self.trust.weight(vote))

    def _side(self, answer: Answer) -> Evidence:
        return self.held_out if answer.held_out else self.training

    def _count(self, name: str, when: datetime | None) -> None:
        self.counts[name] += 1
        if when and (self.newest is None or when > self.newest):
            self.newest = when


def _left_out(row: Interaction, rules: SnapshotRules) -> str | None:
    """Why an interaction can't be learnt from, if it can't."""
    if not row.consent:
        return "no_consent"
    if row.simulated and not rules.include_simulated:
        return "simulated"
    if row.finish_reason in ("cancelled", "error"):
        return "unfinished"
    if not row.response.strip():
        return "empty"
    length = sum(len(message.content) for message in row.messages)
    if rules.max_prompt_chars is not None and length > rules.max_prompt_chars:
        return "long_prompt"
    return None


def _direction(word: Feedback, rules: SnapshotRules) -> float:
    value = word.value or 0.0
    if word.kind == "thumb":
        return value
    return float(value >= rules.rating_up) - float(value <= rules.rating_down)
