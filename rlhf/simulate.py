"""Stand-in users, for trying the loop without people.

They ask prompts, read the current policy's answers with a taste of their own (any reward), and
vote through the store's public interface. Everything they write is marked `simulated`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from feedback_store import Comparison, Feedback, Interaction, NotFound, Store, printable
from feedback_store import Message as StoredMessage
from rewards import Component, combine
from rlhf.config import Settings
from rlhf.data.records import Record
from rlhf.data.reward_columns import column_names, columns_of
from rlhf.errors import StepFailed
from rlhf.files import content_id
from rlhf.progress import progress
from rlhf.sampling import Completion, Prompt, Sampler, Sampling

Slot = Literal["a", "b"]
Choice = Literal["a", "b", "tie"]


class SimulateSettings(Settings):
    """How many stand-in users there are, what they like and how often they say so."""

    taste: Component
    """What they like: any reward, by name or `path.py:function`."""
    prompts: int | None = Field(default=None, ge=1)
    """Prompts asked in a cycle, drawn from the dialogues; all of them when left out."""
    comparisons: float = Field(default=0.5, ge=0, le=1)
    """Share of the prompts asked twice, with a choice between the answers; others get thumbs."""
    vote_rate: float = Field(default=1.0, gt=0, le=1)
    """Share of the answers that are voted on."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Share of the votes cast against the taste; 0.5 is a coin."""
    threshold: float | None = None
    """A thumb goes up at this taste and above; the median of each batch when left out."""
    voters: int = Field(default=20, ge=1)
    """Stand-in users."""
    sampling: Sampling = Sampling()
    """How the policy answers them."""
    seed: int = 7
    """Seeds prompts, answers, voters and noise."""


@dataclass(frozen=True)
class Session:
    """Who is asked, and under which names its answers are kept."""

    store: Store
    sampler: Sampler
    policy: str | None
    template_hash: str | None
    project: str
    tag: str
    """Makes ids unique: the same tag asks the same things again, and writes nothing twice."""
    base: Path
    """Where a taste's `path.py` is looked for."""


def simulate(session: Session, settings: SimulateSettings, records: Sequence[Record]) -> int:
    """Ask and vote; returns the votes cast now.

    Each batch is one transaction with ids made from the tag, so that after a crash the batches
    that were stored are skipped and the others come out the same.
    """
    rng = random.Random(f"{settings.seed}-{session.tag}")
    asked = list(records)
    rng.shuffle(asked)
    asked = asked[: settings.prompts]
    names, votes = column_names(asked), 0
    with progress("simulated users", total=len(asked)) as advance:
        # So few that with second answers for some of them all are drawn at once, nearly always.
        size = max(1, int(0.9 * settings.sampling.batch_size / (1 + settings.comparisons)))
        for number, batch in enumerate(_batches(asked, size)):
            name = content_id([session.tag, settings.seed, number], 24)
            if not _is_stored(session.store, f"{name}-0a"):
                votes += _run_batch(session, settings, batch, name, names)
            advance(len(batch))
    return votes


def _is_stored(store: Store, name: str) -> bool:
    try:
        store.interaction(name)
    except NotFound:
        return False
    return True


def _batches(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]


def _run_batch(
    session: Session,
    settings: SimulateSettings,
    batch: Sequence[Record],
    name: str,
    columns: Sequence[str],
) -> int:
    rng = random.Random(name)
    twice = [rng.random() < settings.comparisons for _ in batch]
    asked = [(i, slot) for i, two in enumerate(twice) for slot in ("ab" if two else "a")]
    prompts = [Prompt(batch[i].prompt, batch[i].style) for i, _ in asked]
    seed = rng.getrandbits(31)
    completions = session.sampler.sample(prompts, settings.sampling, seed=seed)
    beside = columns_of([batch[i] for i, _ in asked], columns)
    scores = _taste(session, settings, prompts, completions, beside)
    interactions = [
        _interaction(session, settings, batch[i], f"{name}-{i}{slot}", completion)
        for (i, slot), completion in zip(asked, completions, strict=True)
    ]
    by_key = dict(zip(asked, scores, strict=True))
    threshold = _threshold(settings, [s for s in scores if s is not None])
    feedback: list[Feedback] = []
    comparisons: list[Comparison] = []
    for i, two in enumerate(twice):
        voter = f"sim-{rng.randrange(settings.voters):04d}"
        votes, against = rng.random() < settings.vote_rate, rng.random() < settings.noise
        first: Slot = "a" if rng.random() < 0.5 else "b"
        a, b = by_key[i, "a"], by_key.get((i, "b"))
        if not votes or a is None or (two and b is None):
            continue
        if two and b is not None:
            comparisons.append(_comparison(session, f"{name}-{i}", voter, a, b, against, first))
        elif not two:
            up = (a >= threshold) != against
            feedback.append(_thumb(f"{name}-{i}", voter, up))
    session.store.append(interactions=interactions, feedback=feedback, comparisons=comparisons)
    return len(feedback) + len(comparisons)


def _taste(
    session: Session,
    settings: SimulateSettings,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    columns: Mapping[str, Sequence[Any]],
) -> list[float | None]:
    rows = combine(
        [settings.taste],
        [list(p.messages) for p in prompts],
        [[{"role": "assistant", "content": c.text}] for c in completions],
        columns={**columns, "finish_reason": [c.finish_reason for c in completions]},
        base=session.base,
    )
    scores = [row.total for row in rows]
    if all(score is None for score in scores):
        raise StepFailed(f"simulate.taste: {settings.taste.name} scored none of the answers")
    return scores


def _threshold(settings: SimulateSettings, scores: Sequence[float]) -> float:
    if settings.threshold is not None:
        return settings.threshold
    ordered = sorted(scores)
    return ordered[len(ordered) // 2] if ordered else 0.0


def _interaction(
    session: Session, settings: SimulateSettings, record: Record, name: str, answer: Completion
) -> Interaction:
    return Interaction(
        id=name,
        project=session.project,
        conversation=record.conversation,
        turn=sum(m["role"] == "user" for m in record.prompt) - 1,
        messages=tuple(StoredMessage(**m) for m in record.prompt),
        response=printable(answer.text),
        response_token_ids=answer.token_ids,
        finish_reason=answer.finish_reason,
        policy=session.policy,
        template_hash=session.template_hash,
        style_asked=record.style,
        style_used=record.style,
        intent=record.intent,
        sampling=settings.sampling.as_dict(),
        assignment_probability=1.0,
        simulated=True,
        completion_tokens=len(answer.token_ids),
    )


def _comparison(
    session: Session, name: str, voter: str, a: float, b: float, against: bool, first: Slot
) -> Comparison:
    choice: Choice = "tie" if a == b else "a" if (a > b) != against else "b"
    return Comparison(
        id=f"{name}-c",
        project=session.project,
        a=f"{name}a",
        b=f"{name}b",
        voter=voter,
        choice=choice,
        shown_first=first,
        simulated=True,
    )


def _thumb(name: str, voter: str, up: bool) -> Feedback:
    return Feedback(
        id=f"{name}-t",
        interaction=f"{name}a",
        voter=voter,
        metric="thumb",
        kind="thumb",
        value=1.0 if up else -1.0,
        simulated=True,
    )
