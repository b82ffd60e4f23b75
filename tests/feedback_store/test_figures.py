"""Kept counts equal a slow count of the rows, whatever happened to these and to the counting."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from counted_by_hand import by_hand, counted

from feedback_store import (
    Comparison,
    Feedback,
    Interaction,
    Message,
    Metric,
    Metrics,
    NotFound,
    RetentionRules,
    Store,
)
from feedback_store.keeping.backup import restore
from feedback_store.keeping.retention import Ages
from feedback_store.metrics import DEFAULTS
from feedback_store.reading.figures import Counted, Key
from rlhf.serving import answer_sample
from rlhf.serving.figures import count_step

BEGAN = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
TEXTS = ("", "Your order ships today.", "请您核实订单。谢谢。", "안녕하세요", "42", "ok lol " * 40)
METRICS = Metrics([*DEFAULTS, Metric(name="harm", kind="rating", range=(0, 1), better="lower")])


class Clock:
    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(where: str, clock: Clock) -> Iterator[Store]:
    with Store.open(where, clock=clock, metrics=METRICS) as opened:
        yield opened


class History:
    """Random calls on a store; the same seed makes the same ones."""

    def __init__(self, store: Store, clock: Clock, seed: int) -> None:
        self.store, self.clock, self.draw = store, clock, random.Random(seed)
        self.known: list[str] = []
        self.early: list[str] = []
        self.others: set[str] = set()

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.clock.now += timedelta(minutes=self.draw.randint(0, 50))
            work = self.draw.choices(
                [self.answer, self.say, self.compare, self.take_back, self.count],
                [3, 6, 2, 2, 3],
            )[0]
            work()

    def answer(self) -> None:
        rows = [self._interaction() for _ in range(self.draw.randint(1, 4))]
        self.store.append(interactions=rows)
        self.known += [row.id for row in rows]

    def _interaction(self) -> Interaction:
        draw = self.draw
        # Some are those that votes wait for already.
        id = self.early.pop() if self.early and draw.random() < 0.5 else f"i{draw.getrandbits(64)}"
        elsewhere = draw.random() < 0.1
        if elsewhere:
            self.others.add(id)
        finish = draw.choice([None, "stop", "stop", "length", "error", "cancelled"])
        return Interaction(
            id=id,
            project="elsewhere" if elsewhere else "default",
            messages=(Message(role="user", content="When?"),),
            response=draw.choice(TEXTS),
            policy=draw.choice([None, "p1", "p2"]),
            style_used=draw.choice([None, "formal", "concise"]),
            style_asked=draw.choice([None, "caring"]),
            intent=draw.choice([None, "billing"]),
            simulated=draw.random() < 0.3,
            user=draw.choice([None, "uma", "ugo"]),
            finish_reason=finish,
            blocked=draw.choice([None, None, None, "rule"]),
            prompt_tokens=draw.choice([None, 12]),
            completion_tokens=draw.choice([None, 0, 1, 30]),
            latency_ms=draw.choice([None, 900.0]),
            first_token_ms=draw.choice([None, 0.0, 80.0, 1e12]),
            created_at=draw.choice([None, self.clock.now - timedelta(days=2)]),
        )

    def say(self) -> None:
        draw = self.draw
        if draw.random() < 0.1 or not self.known:
            self.early.append(f"i{draw.getrandbits(64)}")
            about = self.early[-1]
        else:
            about = draw.choice(self.known)
        said: dict[str, Any] = draw.choice(
            [
                {"kind": "thumb", "value": draw.choice([1.0, -1.0])},
                {"kind": "rating", "value": float(draw.randint(1, 5))},
                {"kind": "rating", "metric": "harm", "value": draw.random()},
                {"kind": "comment", "text": "so so"},
                {"kind": "correction", "text": "Today."},
                {"kind": "implicit", "metric": "copied", "value": 1.0},
            ]
        )
        voter, simulated = draw.choice(["ann", "bob"]), draw.random() < 0.2
        word = Feedback(interaction=about, voter=voter, simulated=simulated, **said)
        self.store.append(feedback=[word], wait=True)

    def compare(self) -> None:
        mine = [id for id in self.known if id not in self.others]
        if len(mine) < 2:
            return
        a, b = self.draw.sample(mine[-6:], 2)
        choice = Comparison(
            a=a,
            b=b,
            voter=self.draw.choice(["ann", "bob"]),
            choice=self.draw.choice(["a", "b", "tie", "both_bad"]),
            shown_first=self.draw.choice([None, "a", "b"]),
            reason=self.draw.choice([None, "arena", "regenerate"]),
            simulated=self.draw.random() < 0.2,
        )
        self.store.append(comparisons=[choice], wait=True)

    def take_back(self) -> None:
        live: list[Any] = [*self.store.feedback(), *self.store.comparisons()]
        if not live:
            return
        one = self.draw.choice(live)
        if isinstance(one, Feedback):
            self.store.withdraw(one.interaction, one.voter, one.metric)
        else:
            self.store.withdraw_comparison(one.a, one.b, one.voter)

    def count(self) -> None:
        count_step(self.store, "default", rows=self.draw.randint(1, 9))


def count_all(store: Store) -> None:
    while count_step(store, "default", rows=7):
        pass


@pytest.mark.parametrize("seed", range(2))
def test_counts_are_those_of_the_rows(
    store: Store, clock: Clock, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_sample, "SAMPLE", 3)  # so that many leave it again
    history = History(store, clock, seed)
    history.go_on(90)
    count_all(store)
    assert counted(store, "default") == by_hand(store, "default") != {}
    assert counted(store, "elsewhere") == {}


@pytest.mark.parametrize("seed", [10])
def test_counts_follow_what_is_erased_and_what_expires(
    store: Store, clock: Clock, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_sample, "SAMPLE", 3)
    history = History(store, clock, seed)
    history.go_on(60)
    count_all(store)
    person = store.person(user="uma", voter="ann")
    store.erase_rows(store.begin_erasure(person), person)
    assert counted(store, "default") == {}  # until they are made anew
    history.known = [row.id for row in store.interactions()]
    history.go_on(40)
    count_all(store)
    assert counted(store, "default") == by_hand(store, "default")
    store.expire(RetentionRules(people=Ages(interactions_days=1.5, votes_days=0.5)))
    history.known = [row.id for row in store.interactions()]
    history.go_on(20)
    count_all(store)
    assert counted(store, "default") == by_hand(store, "default") != {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_counts_are_those_of_the_rows_over_many_histories(
    store: Store, clock: Clock, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_sample, "SAMPLE", 1 + seed % 5)
    history = History(store, clock, seed)
    for round in range(3):
        history.go_on(100)
        if round < 2:
            person = store.person(user="ugo", voter="bob")
            try:
                store.erase_rows(store.begin_erasure(person), person)
            except NotFound:
                continue
            history.known = [row.id for row in store.interactions()]
    count_all(store)
    assert counted(store, "default") == by_hand(store, "default") != {}


def test_two_counters_count_once(where: str, store: Store, clock: Clock) -> None:
    History(store, clock, 5).go_on(60)
    store.forget_figures()
    with Store.open(where) as other, ThreadPoolExecutor(2) as threads:
        list(threads.map(count_all, (store, other)))
    assert counted(store, "default") == by_hand(store, "default") != {}


def test_a_step_that_was_overtaken_changes_nothing(store: Store, clock: Clock) -> None:
    History(store, clock, 6).go_on(30)
    store.forget_figures()
    since, change = store.counted("default"), {Key(1, "all", ""): {"answers": 1}}
    assert count_step(store, "default", rows=10)
    before = counted(store, "default")
    assert not store.add_figures("default", since, 5, change)
    assert counted(store, "default") == before and store.counted("default").upto == 10


def test_a_step_that_an_erasure_overtook_changes_nothing(store: Store) -> None:
    change = {Key(1, "all", ""): {"answers": 1}}
    since = store.counted("default")  # nothing is counted yet, nor will be after
    store.forget_figures("default")
    assert store.counted("default") == Counted(0, since.epoch + 1)
    assert not store.add_figures("default", since, 5, change)
    assert counted(store, "default") == {}


def test_a_crash_within_a_step_leaves_no_trace(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    History(store, clock, 7).go_on(40)
    store.forget_figures()
    count_step(store, "default", rows=20)
    before, upto = counted(store, "default"), store.counted("default")
    with monkeypatch.context() as patch:
        # The counts are put by then.
        patch.setattr("feedback_store.reading.figures.update", lambda table: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            count_step(store, "default", rows=20)
    assert counted(store, "default") == before and store.counted("default") == upto
    count_all(store)
    assert counted(store, "default") == by_hand(store, "default")


def test_a_restored_store_has_its_counts(tmp_path: Path, clock: Clock) -> None:
    with Store.open(tmp_path / "a.db", clock=clock, metrics=METRICS) as store:
        history = History(store, clock, 8)
        history.go_on(60)
        count_step(store, "default", rows=30)
        store.backup(tmp_path / "backup.zip")
    restore(tmp_path / "backup.zip", tmp_path / "b.db", tmp_path / "policies")
    with Store.open(tmp_path / "b.db", clock=clock) as store:
        count_all(store)
        assert counted(store, "default") == by_hand(store, "default") != {}


def test_contests_tell_who_won_and_by_how_much_it_was_longer(
    sqlite_store: Store, ask: Callable[..., Interaction]
) -> None:
    store = sqlite_store
    answers = [ask("x", response="a" * 30, policy="old"), ask("y", response="a" * 10, policy="new")]
    store.append(interactions=answers)
    said = {"voter": "ann", "shown_first": "a", "reason": "arena"}
    store.append(comparisons=[Comparison(a="x", b="y", choice="a", **said)])
    store.append(comparisons=[Comparison(a="y", b="x", choice="b", **{**said, "voter": "bob"})])
    count_all(store)
    found = [(one.choice, one.shown, one.n) for one in store.contests("default")]
    assert found == [("second", "first", 1), ("second", "second", 1)]
    one = store.contests("default")[0]
    assert (one.first, one.second, one.longer, one.reason) == ("new", "old", -0.5, "arena")
    store.withdraw_comparison("x", "y", "ann")
    count_all(store)
    assert [one.shown for one in store.contests("default")] == ["first"]
