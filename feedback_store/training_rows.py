"""Evidence into rows: what is trained on, what it weighs, and what falls out on the way."""

import hashlib
import heapq
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from feedback_store.evidence import Evidence, Gathering, Prompt, Tally
from feedback_store.manifest import SnapshotRules, canonical
from feedback_store.redact import PLACEHOLDER
from feedback_store.schema import Message
from feedback_store.split import fraction_of, prompt_hash
from feedback_store.trust import agreement, recency, row_weight


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
        newest: datetime | None,
        rules: SnapshotRules,
        leaks: AbstractSet[Prompt] = frozenset(),
    ) -> None:
        self.newest = newest
        self.rules = rules
        self.leaks = leaks
        self.dropped: Counter[str] = Counter()

    def weighed(
        self, prompt: Prompt, tally: Tally, said: dict[str, Any], *, target: str | None
    ) -> Row | None:
        """A row with its weight, unless voters cancel out or a target is redacted."""
        age = self._age(tally)
        trust = 1.0
        fresh = recency(age, self.rules.recency_half_life_days)
        weight = row_weight(trust, agreement(_means(tally)), fresh)
        evidence = {
            "weight": weight,
            "votes": sorted(tally.votes),
            "policies": sorted(tally.policies),
        }
        if weight == 0:
            self.dropped["contradiction" if mean(tally) == 0 else "too_old"] += 1
        elif target is not None and PLACEHOLDER.search(target):
            self.dropped["placeholder"] += 1
        else:
            return self.row(prompt, tally, said, evidence)
        return None

    def row(
        self, prompt: Prompt, tally: Tally, said: dict[str, Any], evidence: dict[str, Any]
    ) -> Row | None:
        """A row, unless its prompt is kept aside."""
        if prompt in self.leaks:
            self.dropped["held_out_prompt"] += 1
            return None
        place = hashlib.sha256(canonical([*prompt, said])).hexdigest()
        about = {
            "prompt": json.loads(prompt.messages),
            "style": prompt.style,
            "intent": min(tally.intents, default=None),
            "conversation": min(tally.conversations),
        }
        weight = evidence.get("weight", 1.0)
        return Row(place, self._age(tally), weight, canonical(about | said | evidence))

    def _age(self, tally: Tally) -> int:
        if self.newest is None or tally.newest is None:
            return 0
        return max(0, (self.newest - tally.newest).days)


def mean(tally: Tally) -> float:
    """The mean over voters of each one's mean."""
    means = _means(tally)
    return math.fsum(means) / len(means)


def kto_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Upvoted answers as desirable, downvoted (or both-bad) ones as undesirable."""
    for (prompt, response), tally in evidence.answers.items():
        label = mean(tally) > 0
        said: dict[str, Any] = {"completion": _spoken(response), "label": label}
        said |= _unfinished(evidence, prompt, completion=response)
        yield weigher.weighed(prompt, tally, said, target=response if label else None)


def sft_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Corrections, and answers that more people like than not."""
    for (prompt, response), tally in evidence.corrections.items():
        joined = Tally()
        joined.take(tally, 1.0)
        if (voted := evidence.answers.get((prompt, response))) is not None:
            joined.take(voted, 1.0)
        if mean(joined) < 0:
            weigher.dropped["outvoted"] += 1
            continue
        yield weigher.weighed(prompt, joined, {"completion": _spoken(response)}, target=response)
    for (prompt, response), tally in evidence.answers.items():
        if (prompt, response) not in evidence.corrections and mean(tally) > 0:
            said: dict[str, Any] = {"completion": _spoken(response)}
            said |= _unfinished(evidence, prompt, completion=response)
            yield weigher.weighed(prompt, tally, said, target=response)


def dpo_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Choices and corrections, and an upvoted with a downvoted answer to the same prompt."""
    for (prompt, first, second), tally in all_pairs(evidence, weigher.rules).items():
        chosen, rejected = (first, second) if mean(tally) > 0 else (second, first)
        said: dict[str, Any] = {"chosen": _spoken(chosen), "rejected": _spoken(rejected)}
        said |= _unfinished(evidence, prompt, chosen=chosen, rejected=rejected)
        yield weigher.weighed(prompt, tally, said, target=chosen)


def prompt_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Every prompt once."""
    for prompt, tally in evidence.prompts.items():
        yield weigher.row(prompt, tally, {}, {})


def choice_rows(evidence: Evidence, weigher: Weigher) -> Iterator[Row | None]:
    """Choices as they were made, ties too: what a judge or a reward model is checked against."""
    for (prompt, a, b, choice, shown_first), tally in evidence.choices.items():
        said = {"a": a, "b": b, "choice": choice, "shown_first": shown_first}
        target = {"a": a, "b": b}.get(choice)
        yield weigher.weighed(prompt, tally, said, target=target)


def all_pairs(evidence: Evidence, rules: SnapshotRules) -> dict[tuple[Prompt, str, str], Tally]:
    """The pairs that people chose between, and those that up and down votes on a prompt make."""
    likes: dict[Prompt, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for (prompt, response), tally in evidence.answers.items():
        if direction := mean(tally):
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


def all_rows(gathered: Gathering) -> dict[str, list[Row]]:
    """Every file's rows in their order; what fell out is counted in `gathered.dropped`."""
    kept_aside = {_prompt_hash(prompt) for prompt in gathered.held_out.prompts}
    leaks = {prompt for prompt in gathered.training.prompts if _prompt_hash(prompt) in kept_aside}
    files: dict[str, list[Row]] = {}
    for name, build in TRAINING.items():
        weigher = Weigher(gathered.newest, gathered.rules, leaks)
        rows = _built(build, gathered.training, weigher)
        files[name] = within_budget(rows, gathered.rules)
        weigher.dropped["over_budget"] = len(rows) - len(files[name])
        gathered.dropped[name] += weigher.dropped
    for name, build in HELD_OUT.items():
        weigher = Weigher(gathered.newest, gathered.rules)
        files[name] = _built(build, gathered.held_out, weigher)
        gathered.dropped[name] += weigher.dropped
    return files


def within_budget(rows: list[Row], rules: SnapshotRules) -> list[Row]:
    """The newest rows and a weighted draw of the older ones.

    The draw takes the largest u^(1/weight), u being the row's own hash (Efraimidis and Spirakis
    2006, algorithm A-Res): weighted, without replacement, and the same for the same rows.
    """
    if rules.window is None:
        return rows
    newest_first = sorted(rows, key=lambda row: (row.age, row.place))
    older = newest_first[rules.window :]
    kept = newest_first[: rules.window] + heapq.nlargest(rules.replay, older, key=_draw)
    return sorted(kept, key=lambda row: row.place)


def _built(build: Builder, evidence: Evidence, weigher: Weigher) -> list[Row]:
    rows = (row for row in build(evidence, weigher) if row is not None)
    return sorted(rows, key=lambda row: row.place)


def _draw(row: Row) -> float:
    u = (int(row.place[:12], 16) + 1) / (2**48 + 1)
    return math.log(u) / row.weight


def _means(tally: Tally) -> list[float]:
    return [math.fsum(values) / len(values) for values in tally.values.values()]


def _spoken(response: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": response}]


def _unfinished(evidence: Evidence, prompt: Prompt, **answers: str) -> dict[str, Any]:
    """Names the columns whose answer was cut off: a trainer must not close them."""
    names = [name for name, text in answers.items() if (prompt, text) in evidence.unfinished]
    return {"unfinished": names} if names else {}


def _prompt_hash(prompt: Prompt) -> str:
    return prompt_hash([Message(**message) for message in json.loads(prompt.messages)])
