"""Stand-in users: their votes follow the taste, their noise, and their own tracks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedback_store import Store
from rewards import Component
from rlhf.config import validate
from rlhf.data.records import Record
from rlhf.errors import UsageError
from rlhf.sampling import Completion, Prompt, Sampling
from rlhf.simulate import Session, SimulateSettings, simulate

RECORDS = [
    Record(
        "sft", ({"role": "user", "content": f"question {n}"},), completion="a", conversation=f"c{n}"
    )
    for n in range(60)
]


class Digits:
    """Answers with a number drawn by seed; the taste below likes large ones."""

    calls = 0

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int
    ) -> list[Completion]:
        self.calls += 1
        rng = random.Random(seed)
        return [Completion(str(rng.randrange(1000)), (1,), "stop") for _ in prompts]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "taste.py").write_text(
        "def large(prompts, completions, **columns):\n"
        "    return [float(c[-1]['content']) for c in completions]\n"
    )
    with Store.open(tmp_path / "s.db") as store:
        yield Session(store, Digits(), "p1", None, "default", "tag", tmp_path)


def settings(**changes: Any) -> SimulateSettings:
    given = {"taste": Component(name="taste.py:large"), "sampling": Sampling(batch_size=16)}
    return SimulateSettings(**{**given, **changes})


def number(store: Store, interaction: str) -> int:
    return int(store.interaction(interaction).response)


def test_choices_follow_the_taste_and_everything_is_marked(session: Session) -> None:
    votes = simulate(session, settings(comparisons=0.5, threshold=500.0), RECORDS)
    store = session.store
    comparisons, thumbs = list(store.comparisons()), list(store.feedback())
    assert votes == len(comparisons) + len(thumbs) == 60
    assert 15 < len(comparisons) < 45
    for c in comparisons:
        a, b = number(store, c.a), number(store, c.b)
        assert c.choice == ("a" if a > b else "b" if b > a else "tie")
    for t in thumbs:
        assert (t.value == 1.0) == (number(store, t.interaction) >= 500)
    marked = [*store.interactions(), *comparisons, *thumbs]
    assert all(row.simulated for row in marked)
    assert {c.shown_first for c in comparisons} == {"a", "b"}
    assert all(i.policy == "p1" and i.sampling["temperature"] == 1.0 for i in store.interactions())


def test_the_same_tag_asks_the_same_and_writes_nothing_twice(session: Session) -> None:
    simulate(session, settings(), RECORDS)
    before, calls = session.store.watermark(), session.sampler.calls  # type: ignore[attr-defined]
    assert simulate(session, settings(), RECORDS) == 0
    assert session.store.watermark() == before
    assert session.sampler.calls == calls  # type: ignore[attr-defined]
    assert simulate(replace(session, tag="other"), settings(), RECORDS) == 60


def test_what_a_crash_left_out_comes_out_as_it_would_have(session: Session, tmp_path: Path) -> None:
    with Store.open(tmp_path / "whole.db") as whole:
        simulate(replace(session, store=whole), settings(), RECORDS)
        expected = [(i.id, i.response) for i in whole.interactions()]

    class Dies(Digits):
        def sample(self, *args: Any, **kwargs: Any) -> list[Completion]:
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().sample(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt):
        simulate(replace(session, sampler=Dies()), settings(), RECORDS)
    stored = [(i.id, i.response) for i in session.store.interactions()]
    assert 0 < len(stored) < len(expected) and stored == expected[: len(stored)]
    simulate(session, settings(), RECORDS)
    assert [(i.id, i.response) for i in session.store.interactions()] == expected


@pytest.mark.parametrize(
    ("noise", "low", "high"), [(0.0, 1.0, 1.0), (0.5, 0.3, 0.7), (1.0, 0.0, 0.0)]
)
def test_noise_is_the_share_of_votes_against_the_taste(
    noise: float, low: float, high: float, session: Session
) -> None:
    simulate(session, settings(comparisons=1.0, noise=noise), RECORDS)
    store = session.store
    agreed = [
        (number(store, c.a) > number(store, c.b)) == (c.choice == "a")
        for c in store.comparisons()
        if c.choice != "tie"
    ]
    assert low <= sum(agreed) / len(agreed) <= high


def test_not_every_answer_is_voted_on(session: Session) -> None:
    votes = simulate(session, settings(vote_rate=0.3, comparisons=0.0), RECORDS)
    assert 5 < votes < 35
    assert len(list(session.store.interactions())) == 60


def test_limits_are_checked() -> None:
    with pytest.raises(UsageError, match="`vote_rate`"):
        validate(SimulateSettings, {"taste": {"name": "length"}, "vote_rate": 1.5}, "c.yaml")
