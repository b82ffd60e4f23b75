"""After any history of calls the store equals a plain model of it; RLHF_SEQUENCES sets how many."""

import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from model_of_votes import PROJECTS, Ask, Errors, Model, Word
from new_stores import empty_store

from feedback_store import (
    Comparison,
    Conflict,
    Feedback,
    Interaction,
    Limits,
    Message,
    Store,
    StoreError,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIMITS = Limits(
    waiting=6,
    waiting_of_voter=4,
    waiting_age=timedelta(hours=5),
    request_age=timedelta(hours=7),
)

ids = st.sampled_from(sorted(PROJECTS))
voters = st.sampled_from(["ann", "bob"])
often_false = st.sampled_from([False, False, False, True])
keys = st.sampled_from([None, None, None, None, "k0", "k1"])
asks = st.builds(Ask, ids, st.sampled_from(["r", "r", "r", "r", "r", "changed"]))


@st.composite
def words(draw: st.DrawFn) -> Word:
    """A vote; mostly its id says what it says, so that the same id is the same vote again."""
    voter, n, clash = draw(voters), draw(st.integers(0, 2)), draw(often_false)
    if draw(st.booleans()):
        metric = draw(st.sampled_from(["thumb", "rating"]))
        needs = (draw(ids),)
        key = (*needs, metric, voter)
        says = draw(st.sampled_from([1.0, 1.0, -1.0 if metric == "thumb" else 4.0, None]))
    else:
        needs = tuple(sorted(draw(st.lists(ids, min_size=2, max_size=2, unique=True))))
        key = (*needs, voter)
        says = draw(st.sampled_from([*needs, "tie", "both_bad"]))
    name = "-".join([*key, str(says), str(n)])
    return Word("clash" if clash and n == 0 else name, needs, key, says)


def feedback(word: Word) -> Feedback:
    interaction, metric, voter = word.key
    return Feedback.model_validate(
        {
            "id": word.id,
            "interaction": interaction,
            "voter": voter,
            "kind": metric,
            "value": word.says,
            "withdrawn": word.says is None,
        }
    )


def comparison(word: Word) -> Comparison:
    a, b = word.needs if len(word.id) % 2 else reversed(word.needs)
    choice = {a: "a", b: "b"}.get(word.says, word.says)
    return Comparison.model_validate(
        {"id": word.id, "a": a, "b": b, "voter": word.voter, "choice": choice}
    )


def interaction(ask: Ask) -> Interaction:
    return Interaction(
        id=ask.id,
        project=PROJECTS[ask.id],
        messages=(Message(role="user", content="q"),),
        response=ask.response,
    )


def key_of(vote: Feedback | Comparison) -> tuple[str, ...]:
    if isinstance(vote, Feedback):
        return (vote.interaction, vote.metric, vote.voter)
    return (*vote.pair, vote.voter)


def said_by(vote: Feedback | Comparison) -> Any:
    if vote.withdrawn:
        return None
    if isinstance(vote, Feedback):
        return vote.value
    return {"a": vote.a, "b": vote.b}.get(vote.choice, vote.choice)


class Histories(RuleBasedStateMachine):
    """Votes early, late, twice, changed and taken back; requests sent again; restarts."""

    empty: Path
    """An empty store to begin with: making one takes longer than most histories."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        for name in ("s.db", "s.db.key"):
            shutil.copy(self.empty / name, self.folder / name)
        self.now = NOON
        self.model = Model(LIMITS)
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.folder / "s.db", limits=LIMITS, clock=lambda: self.now)

    @rule(
        asked=st.lists(asks, max_size=2),
        said=st.lists(words(), max_size=3),
        wait=st.booleans(),
        key=keys,
    )
    def append(self, asked: list[Ask], said: list[Word], wait: bool, key: str | None) -> None:
        self.compare(
            ("append", tuple(asked), tuple(said)),
            lambda: self.store.append(
                interactions=[interaction(ask) for ask in asked],
                feedback=[feedback(word) for word in said if not word.compares],
                comparisons=[comparison(word) for word in said if word.compares],
                wait=wait,
                idempotency_key=key,
            ),
            lambda model: model.append(asked, said, wait, self.now),
            key,
        )

    @rule(word=words(), key=keys)
    def withdraw(self, word: Word, key: str | None) -> None:
        def take_back() -> int:
            if word.compares:
                b, a = word.needs
                return self.store.withdraw_comparison(a, b, word.voter, idempotency_key=key)
            interaction, metric, voter = word.key
            return self.store.withdraw(interaction, voter, metric, idempotency_key=key)

        self.compare(
            ("withdraw", word.key),
            take_back,
            lambda model: model.withdraw(word.needs, word.key, self.now),
            key,
        )

    @rule(hours=st.integers(0, 4), restart=st.booleans())
    def pause(self, hours: int, restart: bool) -> None:
        self.now += timedelta(hours=hours)
        if restart:
            self.store.close()
            self.open()
            self.look()

    def compare(
        self,
        body: Any,
        call: Callable[[], int],
        on: Callable[[Model], Errors],
        key: str | None,
    ) -> None:
        """Do it here and in the model: the same answer, or the same refusal and no trace of it."""
        after = self.model.copy()
        known = after.answers.get(key or "")
        if known and known[2] >= self.now - LIMITS.request_age:
            expected: Errors | int = known[1] if known[0] == body else {Conflict}
        else:
            expected = on(after) or len(after.rows)
            if key and isinstance(expected, int):
                after.answers[key] = (body, expected, self.now)
        try:
            answer = call()
        except StoreError as error:
            assert isinstance(expected, set) and type(error) in expected, (error, expected)
        else:
            assert answer == expected
            self.model = after

    def look(self) -> None:
        """Everything that can be read."""
        store, model = self.store, self.model
        person = {store.pseudonym(name): name for name in ("ann", "bob")}

        def plain(vote: Feedback | Comparison) -> tuple[tuple[str, ...], Any]:
            key = key_of(vote)
            return (*key[:-1], person[key[-1]]), said_by(vote)

        votes = [*store.feedback(live=False), *store.comparisons(live=False)]
        rows = sorted([*store.interactions(), *votes], key=lambda row: row.seq or 0)
        assert [row.seq for row in rows] == [*range(1, len(model.rows) + 1)]
        seen = [r.id if isinstance(r, Interaction) else plain(r) for r in rows]
        assert seen == [r.id if isinstance(r, Ask) else (r.key, r.says) for r in model.rows]
        for n, row in enumerate(rows):
            if not isinstance(row, Interaction):
                key = plain(row)[0]
                assert row.revision == sum(word.key == key for word in model.words(n + 1))
        for upto in range(len(rows), 0, -2):
            live = [*store.feedback(upto=upto), *store.comparisons(upto=upto)]
            assert len(live) == len({key_of(vote) for vote in live})
            assert {plain(vote) for vote in live} == model.standing(upto)
        early = [(*plain(w.vote), w.awaits, w.since) for w in store.waiting()]
        assert early == [(w.key, w.says, w.awaits, w.came) for w in model.early]
        counts = {"waiting": len(model.early), "expired": model.expired}
        assert store.waiting_counts() == counts

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                self.look()
            finally:
                self.store.close()
                shutil.rmtree(self.folder)


def try_histories(count: int, folder: Path) -> None:
    run_state_machine_as_test(
        type("HistoriesHere", (Histories,), {"empty": folder}),
        settings=settings(
            max_examples=count,
            stateful_step_count=20,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_store_equals_its_model() -> None:
    try_histories(40, empty_store())


@pytest.mark.slow
def test_a_store_equals_its_model_over_many_histories() -> None:
    try_histories(int(os.environ.get("RLHF_SEQUENCES", "10000")), empty_store())
