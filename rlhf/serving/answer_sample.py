"""What rewards say of some answers of each hour: enough for a trend, and no more work than that.

An hour's sample is the 50 finished answers whose ids have the lowest hashes, people's and simulated
ones apart: a fair draw, the same whoever counts and in whatever steps. Each is scored by the rules
that ship (`style`, `length`, `repetition`, `compliance`); scores are kept in thousandths.

An answer keeps its style if it was asked for one (formal, concise, caring) and the style reward
gives it at least half of the mark. Marks are words and lengths (`rewards.style`),
not an understanding of the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from feedback_store import Store
from feedback_store.reading.figures import Counts, Key
from feedback_store.reading.new_rows import Groups, NewAnswer
from rewards.compliance import compliance
from rewards.length import length
from rewards.repetition import repetition
from rewards.style import parse_style, style

SAMPLE: Final = 50
"""Answers of an hour, for each origin."""
REWARDS: Final = ("style", "length", "repetition", "compliance")
_FINISHED: Final = (None, "stop", "length")
ORIGINS: Final = {False: "people", True: "simulated"}


class Sampled(NamedTuple):
    """One answer that came into a sample, or left it for another."""

    sign: int
    hour: int
    groups: Groups
    simulated: bool
    counts: Counts


Entry = Mapping[str, Any]
"""Of a sample: the answer's `groups` and the `counts` that it adds."""


def finished(answer: NewAnswer) -> bool:
    """Whether its text is the policy's own, and whole as far as it goes."""
    return answer.finish in _FINISHED and not answer.blocked and answer.characters > 0


def sample(
    store: Store, project: str, answers: Iterable[NewAnswer]
) -> tuple[dict[Key, dict[str, Entry]], list[Sampled]]:
    """The samples as new answers change them, and the answers that come and go."""
    new: dict[Key, dict[str, NewAnswer]] = {}
    for answer in filter(finished, answers):
        key = Key(hour_of(answer), "sample", ORIGINS[answer.simulated])
        new.setdefault(key, {})[_hash(answer.id)] = answer
    known: dict[Key, dict[str, Entry]] = store.figures_of(project, new)
    chosen = {
        key: sorted({*known.get(key, {}), *candidates})[:SAMPLE] for key, candidates in new.items()
    }
    came = [new[key][name] for key, names in chosen.items() for name in names if name in new[key]]
    entries = {_hash(id): entry for id, entry in _scored(store, came)}
    samples: dict[Key, dict[str, Entry]] = {}
    moves: list[Sampled] = []
    for key, names in chosen.items():
        before = known.get(key, {})
        # An answer that has gone from the store meanwhile can't be scored; its step will not count.
        samples[key] = {n: e for n in names if (e := before.get(n) or entries.get(n))}
        moves += [_move(-1, key, e) for n, e in before.items() if n not in samples[key]]
        moves += [_move(1, key, e) for n, e in samples[key].items() if n not in before]
    return samples, moves


def score(messages: Sequence[dict[str, str]], response: str, asked: str) -> Counts:
    """What one answer adds to the counts of its groups."""
    prompts, answers = [messages], [response]
    raw: dict[str, float | None] = {
        "style": style(prompts, answers, style=[asked])[0],
        "length": length(prompts, answers)[0],
        "repetition": repetition(prompts, answers)[0],
        "compliance": compliance(prompts, answers)[0],
    }
    counts = {"sampled": 1}
    for name, value in raw.items():
        if value is not None:
            counts |= {f"reward/{name}": round(1_000 * value), f"rewarded/{name}": 1}
    if names := parse_style(asked):
        counts |= {"styled": 1, "in_style": int(in_style(response, names))}
    return {name: count for name, count in counts.items() if count}


def in_style(response: str, names: Sequence[str]) -> bool:
    """Whether the style reward gives an answer at least half of the mark in each style asked for.

    The styles' marks aren't held against each other: any short answer is quite concise.
    """
    return all((style(["?"], [response], target=one)[0] or 0.0) >= 0.5 for one in names)


def hour_of(row: Any) -> int:
    """The hour since 1970 in which a row was made."""
    return int(row.created_at.timestamp() // 3600)


def _scored(store: Store, answers: Sequence[NewAnswer]) -> Iterable[tuple[str, Entry]]:
    by_seq = {answer.seq: answer for answer in answers}
    for seq, messages, response in store.answer_texts(sorted(by_seq)):
        answer = by_seq[seq]
        counts = score(messages, response, answer.groups.style)
        yield answer.id, {"groups": list(answer.groups), "counts": counts}


def _move(sign: int, key: Key, entry: Entry) -> Sampled:
    simulated = key.name == ORIGINS[True]
    return Sampled(sign, key.hour, Groups(*entry["groups"]), simulated, entry["counts"])


def _hash(id: str) -> str:
    return hashlib.blake2b(id.encode(), digest_size=8).hexdigest()
