"""The counts behind the dashboard, made of the store's rows a few thousand at a time.

By hour (and, for long ranges, by day: dimension `policy/day`) and by policy, style, intent and the
answer's language. A vote counts in the hour in which it was made, under its answer's groups; when
it is changed or withdrawn, that hour's count goes down again. Simulated rows count under
`simulated/…`.

| count | of |
|---|---|
| `answers`, `error`, `cancelled`, `blocked`, `cut` | answers, and those that ended so |
| `prompt_tokens`, `completion_tokens` | tokens |
| `first_token_ms/B`, `tokens_per_s/B`, `characters/B`, `tokens/B` | answers by size (`histogram`) |
| `up`, `down` | thumbs and ratings for and against |
| `thumbs`, `ratings`, `rating_sum`, `corrections`, `comments`, `signal/NAME` | votes; thousandths |
| `comparisons`, `comparisons/REASON` | choices that either answer was part of |
| `sampled`, `reward/NAME`, `rewarded/NAME`, `styled`, `in_style` | see `answer_sample` |

Dimension `arena` holds, of all time together, what `feedback_store.reading.figures.Contest` tells.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from feedback_store import Store, StoreError
from feedback_store.metrics import Metrics
from feedback_store.reading.figures import ALWAYS, Key, contest_name
from feedback_store.reading.new_rows import Groups, New, NewAnswer, NewChoice, NewVote
from rlhf.serving.answer_sample import Sampled, finished, hour_of, sample
from rlhf.serving.histogram import place
from rlhf.serving.storage import Storage

log = logging.getLogger(__name__)

DIMENSIONS: Final = ("all", "policy", "style", "intent", "language")
STEP: Final = 2_000
"""Rows counted in one go: some 50 ms of work, the store locked for a tenth of it."""
DAY: Final = 24

Labels = tuple[tuple[str, str], ...]
Cells = defaultdict[tuple[int, Labels], Counter[str]]


def count_step(store: Store, project: str, rows: int = STEP) -> bool:
    """Count so many rows more; whether any are left. Safe to break off at any moment."""
    since, last = store.counted(project), store.watermark()
    if since.upto >= last:
        return False
    upto = min(last, since.upto + rows)
    new = store.new_rows(project, since.upto, upto)
    samples, moves = sample(store, project, new.answers)
    changes = changes_of(new, moves, store.metrics)
    # Where another server was first, the next step goes on from where that one came to.
    store.add_figures(project, since, upto, changes, samples)
    return upto < last


async def keep_counting(storage: Storage, project: str, poll_seconds: float) -> None:
    """Count what comes, until cancelled; while there is much to count, half of the time."""
    trouble: str | None = None
    while True:
        began, more = time.monotonic(), False
        try:
            more = await storage.run(lambda store: count_step(store, project))
            trouble = None
        except Exception as error:  # a bug here must not stop the counting for good
            if trouble != (trouble := type(error).__name__):
                kind = "can't be read" if isinstance(error, StoreError) else "can't be counted"
                log.error("the dashboard's rows %s: %s", kind, trouble)
        await asyncio.sleep(time.monotonic() - began if more else poll_seconds)


def changes_of(new: New, moves: Iterable[Sampled], metrics: Metrics) -> dict[Key, Counter[str]]:
    """By how much rows change the counts."""
    cells: Cells = defaultdict(Counter)
    for answer in new.answers:
        for name in _answer(answer):
            cells[_cell(answer, answer.groups)][_told(name, answer.simulated)] += 1
        _add_tokens(cells[_cell(answer, answer.groups)], answer)
    for vote in new.votes:
        cell = cells[_cell(vote, vote.groups)]
        for name, count in _vote(vote, metrics):
            cell[_told(name, vote.simulated)] += vote.sign * count
    for choice in new.choices:
        cell = cells[hour_of(choice), _of_both(*choice.sides)]
        for name in ("comparisons", f"comparisons/{choice.reason or 'none'}"):
            cell[_told(name, choice.simulated)] += choice.sign
    for move in moves:
        cell = cells[move.hour, _labels(move.groups)]
        for name, count in move.counts.items():
            cell[_told(name, move.simulated)] += move.sign * count
    changes = _spread(cells)
    for choice in new.choices:
        changes[_contest(choice)][_told(choice.reason or "none", choice.simulated)] += choice.sign
    return changes


def _answer(answer: NewAnswer) -> Iterator[str]:
    yield "answers"
    ended = {"error": "error", "cancelled": "cancelled", "length": "cut"}
    if answer.blocked or answer.finish == "content_filter":
        yield "blocked"
    elif answer.finish in ended:
        yield ended[answer.finish]
    if answer.first_token_ms is not None:
        yield f"first_token_ms/{place(answer.first_token_ms)}"
    if (speed := tokens_per_s(answer)) is not None:
        yield f"tokens_per_s/{place(speed)}"
    if finished(answer):
        yield f"characters/{place(answer.characters)}"
        if answer.completion_tokens:
            yield f"tokens/{place(answer.completion_tokens)}"


def tokens_per_s(answer: NewAnswer) -> float | None:
    """How fast an answer's tokens came; after the first, where it is known when that came."""
    tokens, milliseconds = answer.completion_tokens or 0, answer.latency_ms or 0.0
    if answer.first_token_ms is not None:
        tokens, milliseconds = tokens - 1, milliseconds - answer.first_token_ms
    return 1_000.0 * tokens / milliseconds if tokens > 0 and milliseconds > 0.0 else None


def _add_tokens(cell: Counter[str], answer: NewAnswer) -> None:
    for name in ("prompt_tokens", "completion_tokens"):
        if count := getattr(answer, name):
            cell[_told(name, answer.simulated)] += count


def _vote(vote: NewVote, metrics: Metrics) -> Iterator[tuple[str, int]]:
    if vote.direction:
        yield ("up" if vote.direction > 0 else "down"), 1
    if vote.kind == "implicit":
        yield f"signal/{vote.metric}", 1
    else:
        yield f"{vote.kind}s", 1
    if vote.kind == "rating":
        yield "rating_sum", round(1_000 * metrics.to_scale(vote))


def _contest(choice: NewChoice) -> Key:
    a, b = ((side.policy, long) for side, long in zip(choice.sides, choice.characters, strict=True))
    return Key(ALWAYS, "arena", contest_name((a, b), choice.choice, choice.shown_first))


def _cell(row: NewAnswer | NewVote, groups: Groups) -> tuple[int, Labels]:
    return hour_of(row), _labels(groups)


@lru_cache(maxsize=4_096)
def _labels(groups: Groups) -> Labels:
    return tuple(zip(DIMENSIONS, ("", *groups), strict=True))


def _of_both(a: Groups, b: Groups) -> Labels:
    return tuple(dict.fromkeys((*_labels(a), *_labels(b))))


@lru_cache(maxsize=4_096)
def _told(name: str, simulated: bool) -> str:
    return f"simulated/{name}" if simulated else name


def _spread(cells: Cells) -> defaultdict[Key, Counter[str]]:
    """The counts of each hour and day under each of their names."""
    changes: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for (hour, labels), counts in cells.items():
        for dimension, name in labels:
            changes[Key(hour, dimension, name)].update(counts)
            changes[Key(hour - hour % DAY, f"{dimension}/day", name)].update(counts)
    return changes
