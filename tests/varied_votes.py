"""Histories drawn from a seed in which every rule of the snapshot has work to do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from feedback_store import Comparison, Feedback, Interaction, Message, Store

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Some are the same prompt but for case, width and spacing: a leak when the first is held out.
_PROMPTS = (
    "Where is my parcel?",
    "where is  my PARCEL？",
    "我的包裹在哪里？",
    '他说："好"\n\\还是不好\t?',
    "Ｗhere is my parcel?",
    "Why\u2028not?",
    "x" * 90,
    *(f"Question {n}, 问题 {n}?" for n in range(12)),
)
_ANSWERS = (
    "It left today.",
    "它今天已发出。",
    "Call <PHONE> then.",
    'She said "no"\nand \\ left\u2029.',
    " ",
    "😀 fine",
    *(f"Answer {n}" for n in range(8)),
)


def fill(store: Store, seed: int, interactions: int = 120, votes: int = 500) -> None:
    """Append a history to a store whose clock must not stand before 2026-03-01."""
    draw = random.Random(seed)
    rows = [_interaction(draw, n) for n in range(interactions)]
    store.append(interactions=rows)
    said = list(_votes(draw, rows, votes))
    for start in range(0, len(said), 25):
        words = said[start : start + 25]
        store.append(
            feedback=[word for word in words if isinstance(word, Feedback)],
            comparisons=[word for word in words if isinstance(word, Comparison)],
        )


def _moment(draw: random.Random) -> datetime:
    return _NOW - timedelta(
        days=draw.choice((0, 0, 1, 7, 40, 400)),
        seconds=draw.randrange(90_000),
        microseconds=draw.randrange(1_000_000),
    )


def _interaction(draw: random.Random, n: int) -> Interaction:
    turns = [("user", draw.choice(_PROMPTS))]
    if draw.random() < 0.1:
        turns = [("system", "Be kind. 请"), *turns, ("assistant", "Hm?"), ("user", "再见")]
    return Interaction(
        id=f"i{n}",
        project=draw.choice(("default",) * 9 + ("other",)),
        conversation=f"c{draw.randrange(60)}",
        messages=tuple(Message.model_validate({"role": r, "content": c}) for r, c in turns),
        response=draw.choice(_ANSWERS),
        finish_reason=draw.choice(("stop", "stop", "stop", None, "length", "cancelled", "error")),
        policy=draw.choice(("p1", "p2", None)),
        style_asked=draw.choice((None, None, None, "brief")),
        style_used=draw.choice((None, None, None, "long")),
        intent=draw.choice((None, "billing", "寒暄")),
        simulated=draw.random() < 0.1,
        consent=draw.random() < 0.95,
        created_at=_moment(draw),
    )


def _votes(
    draw: random.Random, rows: list[Interaction], count: int
) -> Iterator[Feedback | Comparison]:
    by_prompt: dict[tuple[str, str, str | None], list[Interaction]] = {}
    for row in rows:
        by_prompt.setdefault((row.project, row.messages[-1].content, row.style), []).append(row)
    for n in range(count):
        about = {
            "id": f"v{n}",
            "voter": f"voter{draw.randrange(12)}",
            "simulated": draw.random() < 0.1,
            "created_at": _moment(draw),
        }
        if draw.random() < 0.25:
            yield _comparison(draw, rows, by_prompt, about)
            continue
        on = draw.choice(rows)
        kind = draw.choice(("thumb", "thumb", "rating", "correction", "comment", "implicit"))
        fields: dict[str, object] = {"interaction": on.id, "kind": kind, **about}
        if draw.random() < 0.05:
            fields["withdrawn"] = True
        elif kind in ("correction", "comment"):
            fields["text"] = draw.choice((*_ANSWERS[:4], on.response.strip() or "said", "更好"))
        elif kind == "thumb":
            fields["value"] = draw.choice((1.0, 1.0, -1.0))
        else:
            fields["value"] = draw.choice((1.0, 2.0, 2.5, 3.0, 4.0, 5.0))
        yield Feedback.model_validate(fields)


def _comparison(
    draw: random.Random,
    rows: list[Interaction],
    by_prompt: dict[tuple[str, str, str | None], list[Interaction]],
    about: dict[str, object],
) -> Comparison:
    same = draw.choice([group for group in by_prompt.values() if len(group) > 1])
    a, b = draw.sample(same, 2)
    if draw.random() < 0.1:
        a, b = draw.sample([row for row in rows if row.project == a.project], 2)
    fields = {
        "project": a.project,
        "a": a.id,
        "b": b.id,
        "choice": draw.choice(("a", "a", "b", "tie", "both_bad")),
        "shown_first": draw.choice(("a", "b", None)),
        "withdrawn": draw.random() < 0.05,
    }
    return Comparison.model_validate(about | fields)
