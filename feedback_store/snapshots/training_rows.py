"""Evidence into rows: what is trained on, what it weighs, and what falls out on the way."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

from feedback_store.redact import PLACEHOLDER
from feedback_store.snapshots.evidence import Evidence, Prompt, Tally
from feedback_store.snapshots.gathering import Gathering
from feedback_store.snapshots.manifest import SnapshotRules, joined, listed, quoted
from feedback_store.split import fraction_of
from feedback_store.trust import agreement, recency, row_weight

_DAY = 86_400_000_000  # in microseconds

Pieces = dict[str, str]
"""Columns of a row, each value in canonical JSON."""


class Row(NamedTuple):
    """A line of a file, the hash that orders it, its age in whole days and its weight."""

    place: str
    age: int
    weight: float
    line: bytes


class Weigher:
    """Turns tallies into the rows of one file, counting those that fall out."""

    def __init__(
        self,
        newest: int,
        rules: SnapshotRules,
        dropped: Counter[str],
        leaks: AbstractSet[Prompt] = frozenset(),
    ) -> None:
        self.newest = newest
        self.rules = rules
        self.dropped = dropped
        self.leaks = leaks

    def weighed(
        self, prompt: Prompt, tally: Tally, said: Pieces, *, target: str | None
    ) -> Row | None:
        """A row with its weight, unless voters cancel out or a target is redacted."""
        trust = 1.0
        fresh = recency(self._age(tally), self.rules.recency_half_life_days)
        weight = row_weight(trust, agreement(tally.means()), fresh)
        if weight == 0:
            self.dropped["contradiction" if tally.mean() == 0 else "too_old"] += 1
        elif target is not None and PLACEHOLDER.search(target):
            self.dropped["placeholder"] += 1
        else:
            return self.row(prompt, tally, said, weight)
        return None

    def row(
        self, prompt: Prompt, tally: Tally, said: Pieces, weight: float | None = None
    ) -> Row | None:
        """A row, unless its prompt is kept aside; one without a weight has no votes either."""
        if prompt in self.leaks:
            self.dropped["held_out_prompt"] += 1
            return None
        whole = f"{prompt.head}{joined(said)}]\n"
        line = said | {
            "prompt": prompt.messages[:-1],
            "style": quoted(prompt.style),
            "intent": quoted(min(tally.intents, default=None)),
            "conversation": quoted(min(tally.conversations)),
        }
        if weight is not None:
            line["weight"] = repr(weight)
            line["votes"] = listed(tally.votes)
            line["policies"] = listed(tally.policies)
        return Row(
            place=hashlib.sha256(whole.encode()).hexdigest(),
            age=self._age(tally),
            weight=1.0 if weight is None else weight,
            line=f"{joined(line)}\n".encode(),
        )

    def _age(self, tally: Tally) -> int:
        return max(0, self.newest - tally.newest) // _DAY


def kto_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Upvoted answers as desirable, downvoted (or both-bad) ones as undesirable."""
    for (prompt, response), tally in evidence.answers.items():
        label = tally.mean() > 0
        said = {"completion": _spoken(response), "label": "true" if label else "false"}
        said |= _unfinished(evidence, prompt, completion=response)
        yield weigher.weighed(prompt, tally, said, target=response if label else None)


def sft_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Corrections, and answers that more people like than not."""
    for (prompt, response), tally in evidence.corrections.items():
        together = Tally()
        together.take(tally, 1.0)
        if (voted := evidence.answers.get((prompt, response))) is not None:
            together.take(voted, 1.0)
        if together.mean() < 0:
            weigher.dropped["outvoted"] += 1
            continue
        yield weigher.weighed(prompt, together, {"completion": _spoken(response)}, target=response)
    for (prompt, response), tally in evidence.answers.items():
        if (prompt, response) not in evidence.corrections and tally.mean() > 0:
            said = {"completion": _spoken(response)}
            said |= _unfinished(evidence, prompt, completion=response)
            yield weigher.weighed(prompt, tally, said, target=response)


def dpo_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Choices and corrections, and an upvoted with a downvoted answer to the same prompt."""
    for (prompt, first, second), tally in all_pairs(evidence, weigher.rules).items():
        chosen, rejected = (first, second) if tally.mean() > 0 else (second, first)
        said = {"chosen": _spoken(chosen), "rejected": _spoken(rejected)}
        said |= _unfinished(evidence, prompt, chosen=chosen, rejected=rejected)
        yield weigher.weighed(prompt, tally, said, target=chosen)


def prompt_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Every prompt once."""
    for prompt, tally in evidence.prompts.items():
        yield weigher.row(prompt, tally, {})


def choice_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Choices as they were made, ties too: what a judge or a reward model is checked against."""
    for (prompt, a, b, choice, shown_first), tally in evidence.choices.items():
        said = {"a": quoted(a), "b": quoted(b), "choice": quoted(choice)}
        said["shown_first"] = quoted(shown_first)
        target = {"a": a, "b": b}.get(choice)
        yield weigher.weighed(prompt, tally, said, target=target)


def all_pairs(evidence: Evidence, rules: SnapshotRules) -> dict[tuple[Prompt, str, str], Tally]:
    """The pairs that people chose between, and those that up and down votes on a prompt make."""
    likes: dict[Prompt, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for (prompt, response), tally in evidence.answers.items():
        if direction := tally.mean():
            likes[prompt][direction < 0].append(response)
    pairs: dict[tuple[Prompt, str, str], Tally] = defaultdict(Tally)
    for key, tally in evidence.pairs.items():
        pairs[key].take(tally, 1.0)
    for prompt, (ups, downs) in likes.items():
        for up, down in islice(_spread(ups, downs), rules.pairs_per_prompt):
            sign = 1.0 if up < down else -1.0
            pair = pairs[prompt, min(up, down), max(up, down)]
            pair.take(evidence.answers[prompt, up], sign)
            pair.take(evidence.answers[prompt, down], -sign)
    return pairs


def _spread(ups: list[str], downs: list[str]) -> Iterator[tuple[str, str]]:
    """All pairs, in an order that uses every answer early and none twice in a row."""
    ups, downs = sorted(ups, key=fraction_of), sorted(downs, key=fraction_of)
    for shift in range(len(downs)):
        for place, up in enumerate(ups):
            yield up, downs[(place + shift) % len(downs)]


Builder = Callable[[Evidence, Weigher], Iterable[Row | None]]

TRAINING: dict[str, Builder] = {
    "sft.jsonl": sft_rows,
    "dpo.jsonl": dpo_rows,
    "kto.jsonl": kto_rows,
    "prompts.jsonl": prompt_rows,
}
HELD_OUT: dict[str, Builder] = {
    "heldout_dpo.jsonl": dpo_rows,
    "heldout_kto.jsonl": kto_rows,
    "heldout_prompts.jsonl": prompt_rows,
    "heldout_comparisons.jsonl": choice_rows,
}


def all_rows(gathered: Gathering) -> Iterator[tuple[str, Row]]:
    """Every file's name with its rows, in no order; `gathered.dropped` counts what falls out."""
    for part in gathered.parts():
        leaks = part.leaks()
        for builders, evidence, kept_aside in (
            (TRAINING, part.training, leaks),
            (HELD_OUT, part.held_out, frozenset()),
        ):
            for name, build in builders.items():
                dropped = gathered.dropped[name]
                weigher = Weigher(gathered.newest, gathered.rules, dropped, kept_aside)
                for row in build(evidence, weigher):
                    if row is not None:
                        yield name, row


def _spoken(response: str) -> str:
    return f'[{{"content":{quoted(response)},"role":"assistant"}}]'


def _unfinished(evidence: Evidence, prompt: Prompt, **answers: str) -> Pieces:
    """Names the columns whose answer was cut off: a trainer must not close them."""
    names = [name for name, text in answers.items() if (prompt, text) in evidence.unfinished]
    return {"unfinished": listed(names)} if names else {}
