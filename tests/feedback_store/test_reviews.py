"""Spot checks: who gets which answer, what a verdict becomes, and what is counted of it."""

import json
import multiprocessing
import os
import random
import re
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from vote_pushers import push
from vote_traffic import Honest

from feedback_store import (
    Conflict,
    Feedback,
    Metric,
    Metrics,
    Refused,
    RetentionRules,
    ReviewRules,
    SnapshotRules,
    SourceShares,
    Store,
    build_snapshot,
    rate_interval,
)
from feedback_store.trust import TrustRules
from feedback_store.writing import appending

RULES = ReviewRules(twice=0.0, gold=0.0)
ALL = SnapshotRules(held_out=0.0)


class Clock:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(where: str, clock: Clock):
    with Store.open(where, clock=clock) as opened:
        yield opened


def only(**shares: float) -> ReviewRules:
    """One source alone."""
    none = dict.fromkeys(SourceShares.model_fields, 0.0)
    return RULES.model_copy(update={"shares": SourceShares(**none | shares)})


def drawn(store: Store, voter: str, rules: ReviewRules, most: int = 100) -> list[str]:
    """What a reviewer gets who skips everything."""
    got = []
    while len(got) < most and (item := store.next_for(voter, rules=rules)) is not None:
        got.append(item.interaction)
        store.review(voter, item.interaction, "skip")
    return got


# Where answers come from


def test_random_answers_are_peoples_and_each_comes_once(store: Store, ask) -> None:
    store.append(
        interactions=[
            *(ask(f"i{n}") for n in range(20)),
            ask("simulated", simulated=True),
            ask("private", consent=False),
            ask("empty", response=""),
            ask("broken", finish_reason="error"),
            ask("elsewhere", project="clinic"),
        ]
    )
    assert sorted(drawn(store, "rev", only(random=1))) == sorted(f"i{n}" for n in range(20))
    assert store.next_for("rev", "clinic", RULES).interaction == "elsewhere"


@pytest.mark.slow
def test_random_draws_are_uniform(store: Store, ask) -> None:
    """Answers before which many votes were stored are drawn as often as the others."""
    for n in range(6):
        voters = range(30 if n % 2 else 0)
        words = [
            Feedback(interaction=f"i{n}", voter=f"v{k}", kind="thumb", value=1.0) for k in voters
        ]
        store.append(interactions=[ask(f"i{n}")], feedback=words)
    first: Counter[str] = Counter()
    draw = random.Random(1)
    for _ in range(200):
        item = store.next_for("rev", rules=only(random=1), draw=draw)
        first[item.interaction] += 1
        store.give_back("rev", item.interaction)
    assert set(first) == {f"i{n}" for n in range(6)} and min(first.values()) > 20


def test_so_many_random_ones_a_day(store: Store, ask, clock: Clock) -> None:
    store.append(interactions=[ask(f"i{n}") for n in range(9)])
    rules = only(random=1).model_copy(update={"random_a_day": 4})
    assert store.review_progress("default", rules)["sources"]["random"]["waiting"] == 4
    for n in range(4):
        voter = f"rev{n}"
        store.review(voter, store.next_for(voter, rules=rules).interaction, "accept")
    assert store.next_for("rev9", rules=rules) is None
    assert store.review_progress("default", rules)["sources"]["random"]["waiting"] == 0
    clock.now += timedelta(days=1)
    assert store.next_for("rev9", rules=rules) is not None


def test_disagreement_is_between_live_votes(store: Store, ask, thumb) -> None:
    store.append(
        interactions=[ask(name) for name in ("both", "up", "changed", "withdrawn", "rated")],
        feedback=[
            thumb("both", 1.0, "a"),
            thumb("both", -1.0, "b"),
            thumb("up", 1.0, "a"),
            thumb("up", 1.0, "b"),
            thumb("changed", 1.0, "a"),
            thumb("changed", -1.0, "b"),
            thumb("withdrawn", 1.0, "a"),
            thumb("withdrawn", -1.0, "b"),
            Feedback(interaction="rated", voter="a", kind="rating", value=5.0),
            Feedback(interaction="rated", voter="b", kind="rating", value=1.0),
        ],
    )
    store.append(feedback=[thumb("changed", 1.0, "b")])
    store.withdraw("withdrawn", "b", "thumb")
    assert sorted(drawn(store, "rev", only(disagreement=1))) == ["both", "rated"]


def test_what_the_screen_blocked_comes_newest_first(store: Store, ask) -> None:
    blocked = {"blocked": "diagnosis", "finish_reason": "content_filter"}
    store.append(interactions=[ask("b1", **blocked), ask("fine"), ask("b2", **blocked)])
    assert drawn(store, "rev", only(compliance=1)) == ["b2", "b1"]


def test_held_votes_by_hand_and_by_the_last_snapshot(store: Store, tmp_path: Path) -> None:
    honest, (pushed, _) = Honest(4, votes=600).traffic, push(4, 20, 20, "burst")
    for traffic in (honest, pushed):
        store.append(interactions=traffic.interactions, feedback=traffic.feedback,
                     comparisons=traffic.comparisons)  # fmt: skip
    rules = only(quarantine=1)
    assert store.next_for("rev", rules=rules) is None
    assert build_snapshot(store, tmp_path, ALL).dropped["votes"] == {"burst": 20}
    wanted = {vote.interaction for vote in pushed.feedback if vote.id.startswith("x")}
    item = store.next_for("rev", rules=rules)
    assert item.interaction in wanted
    assert {vote.held for vote in store.standing(item.interaction)} >= {"burst"}
    waiting = store.review_progress("default", rules)["sources"]["quarantine"]["waiting"]
    assert waiting == len(wanted) - 1  # that one is somebody's now
    let_go = store.judge_votes("rev", item.interaction, hold=False, reason="a class")
    assert let_go and all(vote.held == "burst" for vote in let_go)
    assert {vote.held for vote in store.standing(item.interaction)} == {None}
    built = build_snapshot(store, tmp_path, ALL)
    assert built.dropped.get("votes", {}).get("burst", 0) == 20 - len(let_go)


def test_holding_votes_takes_the_reservation_and_spares_ones_own(store: Store, ask, thumb):
    store.append(interactions=[ask("a")], feedback=[thumb("a", 1.0, "x"), thumb("a", -1.0, "y")])
    with pytest.raises(Conflict, match="isn't reserved for you"):
        store.judge_votes("rev", "a", hold=True, reason="a push")
    assert store.next_for("rev", rules=RULES).interaction == "a"
    assert len(store.judge_votes("rev", "a", hold=True, reason="a push")) == 2
    assert {one.reason for one in store.quarantined()} == {"a push"}
    store.review("rev", "a", "accept")
    store.next_for("two", rules=only(quarantine=1))
    assert len(store.quarantined()) == 2 and len(store.standing("a")) == 2


def test_a_held_comparison_can_be_let_go(store: Store, ask, compare) -> None:
    choices = [compare("a", "b", "a", "x"), compare("b", "a", "tie", "y")]
    store.append(interactions=[ask("a"), ask("b", response="Bad.")], comparisons=choices)
    store.quarantine([choices[0].id], "paid for")
    item = store.next_for("rev", rules=only(quarantine=1)).interaction
    told = [(vote.kind, vote.value, vote.held) for vote in store.standing(item)]
    won = 1.0 if item == "a" else -1.0
    assert told == [("comparison", won, "paid for"), ("comparison", 0.0, None)]
    let_go = store.judge_votes("rev", item, hold=False, reason="checked")
    assert [vote.id for vote in let_go] == [choices[0].id] and store.quarantined() == []


def test_nothing_known_comes_where_nothing_else_waits(store: Store, ask) -> None:
    store.append(interactions=[ask("g"), ask("a")])
    store.set_gold("g", True)
    always = only(disagreement=1).model_copy(update={"gold": 1.0})
    assert store.next_for("rev", rules=always) is None
    item = store.next_for("rev", rules=only(random=1).model_copy(update={"gold": 1.0}))
    assert (item.interaction, item.source) == ("g", "gold")


# Reservations


def test_a_reviewer_keeps_what_he_has(store: Store, ask, clock: Clock) -> None:
    store.append(interactions=[ask("a"), ask("b")])
    first = store.next_for("ann", rules=RULES)
    clock.now += timedelta(minutes=5)
    again = store.next_for("ann", rules=RULES)
    assert again.interaction == first.interaction
    assert again.expires_at == clock.now + timedelta(minutes=10)
    other = store.next_for("bob", rules=RULES)
    assert other.interaction != first.interaction
    assert store.next_for("eve", rules=RULES) is None
    store.give_back("eve", first.interaction)  # not hers
    assert store.next_for("eve", rules=RULES) is None
    store.give_back("ann", first.interaction)
    assert store.next_for("eve", rules=RULES).interaction == first.interaction


def test_what_expires_goes_to_the_next(store: Store, ask, clock: Clock) -> None:
    store.append(interactions=[ask("a")])
    store.next_for("ann", rules=RULES)
    clock.now += timedelta(minutes=11)
    assert store.renew("ann", "a").expires_at == clock.now + timedelta(minutes=10)
    clock.now += timedelta(minutes=11)
    assert store.next_for("bob", rules=RULES).interaction == "a"
    for late in (
        lambda: store.renew("ann", "a"),
        lambda: store.review("ann", "a", "accept"),
    ):
        with pytest.raises(Conflict, match="isn't reserved for you"):
            late()
    assert list(store.feedback()) == [] and store.reviews_of("a") == []
    store.review("bob", "a", "accept")


def test_late_and_not_taken_still_counts(store: Store, ask, clock: Clock) -> None:
    store.append(interactions=[ask("a")])
    store.next_for("ann", rules=RULES)
    clock.now += timedelta(hours=3)
    assert store.review("ann", "a", "accept").verdict == "accept"


def _review_all(where: str, voter: str, got: "multiprocessing.Queue[tuple[str, str]]") -> None:
    with Store.open(where) as store:
        while (item := store.next_for(voter, rules=RULES)) is not None:
            store.review(voter, item.interaction, "accept")
            got.put((voter, item.interaction))
    got.put((voter, ""))


def test_eight_reviewers_at_once_never_meet(store: Store, ask) -> None:
    count = 32
    store.append(interactions=[ask(f"i{n}") for n in range(count)])
    got: list[tuple[str, str]] = []
    start = threading.Barrier(8)

    def work(voter: str) -> None:
        start.wait()
        while (item := store.next_for(voter, rules=RULES)) is not None:
            got.append((voter, item.interaction))
            store.review(voter, item.interaction, "accept")

    threads = [threading.Thread(target=work, args=(f"rev{k}",)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(id for _, id in got) == Counter({f"i{n}": 1 for n in range(count)})
    assert len(list(store.feedback())) == count


@pytest.mark.slow
def test_two_servers_never_give_the_same(where: str, ask) -> None:
    with Store.open(where) as store:
        store.append(interactions=[ask(f"i{n}") for n in range(24)])
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    workers = [spawn.Process(target=_review_all, args=(where, f"rev{k}", queue)) for k in range(2)]
    for worker in workers:
        worker.start()
    got, ended = [], 0
    while ended < 2:
        _voter, id = queue.get(timeout=60)
        ended += not id
        got += [id] if id else []
    for worker in workers:
        worker.join()
    assert sorted(got) == sorted(f"i{n}" for n in range(24))


def test_a_share_is_reviewed_by_two(store: Store, ask) -> None:
    store.append(interactions=[ask(f"i{n}") for n in range(16)])
    rules = RULES.model_copy(update={"twice": 0.5})
    by: Counter[str] = Counter()
    for voter in ("ann", "bob", "eve"):
        while (item := store.next_for(voter, rules=rules)) is not None:
            store.review(voter, item.interaction, "accept")
            by[item.interaction] += 1
    assert set(by) == {f"i{n}" for n in range(16)}
    assert set(by.values()) == {1, 2} and 4 <= sum(n == 2 for n in by.values()) <= 12


def test_the_second_isnt_told_what_the_first_said(store: Store, ask, thumb) -> None:
    store.append(interactions=[ask("a")], feedback=[thumb("a", 1.0, "user")])
    rules = RULES.model_copy(update={"twice": 1.0})
    store.next_for("ann", rules=rules)
    store.review("ann", "a", "reject", reasons=["wrong"])
    assert store.next_for("bob", rules=rules).interaction == "a"
    assert [vote.value for vote in store.standing("a")] == [1.0]


# Verdicts


def reviewed(store: Store, verdict: str, voter: str = "rev", **said) -> str:
    item = store.next_for(voter, rules=RULES)
    store.review(voter, item.interaction, verdict, **said)
    return item.interaction


def rows(folder: Path, id: str, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / id / name).read_text().splitlines()]


def test_verdicts_become_training_rows(store: Store, tmp_path: Path, ask) -> None:
    store.append(
        interactions=[ask(f"i{n}", prompt=f"q{n}", response=f"answer {n}") for n in range(3)]
    )
    good = reviewed(store, "accept")
    bad = reviewed(store, "reject", reasons=["wrong", "rude"])
    mended = reviewed(store, "correct", text="A better answer.")
    built = build_snapshot(store, tmp_path, ALL).id

    def text(row: dict, column: str = "completion") -> str:
        return row[column][0]["content"]

    def answer(id: str) -> str:
        return store.interaction(id).response

    kto = {text(row): row["label"] for row in rows(tmp_path, built, "kto.jsonl")}
    assert kto == {answer(good): True, answer(bad): False, answer(mended): False}
    sft = {text(row) for row in rows(tmp_path, built, "sft.jsonl")}
    assert sft == {answer(good), "A better answer."}
    (pair,) = rows(tmp_path, built, "dpo.jsonl")
    assert (text(pair, "chosen"), text(pair, "rejected")) == ("A better answer.", answer(mended))
    reasons = {vote.interaction: vote.reasons for vote in store.feedback()}
    assert reasons[bad] == ("wrong", "rude")
    assert {review.source for id in (good, bad, mended) for review in store.reviews_of(id)} == {
        "random"
    }


def test_said_again_it_is_the_same(store: Store, ask) -> None:
    store.append(interactions=[ask("a")])
    store.next_for("rev", rules=RULES)
    first = store.review("rev", "a", "correct", text="Better: call 13812345678.", reasons=["old"])
    mark = store.watermark()
    same = store.review("rev", "a", "correct", text="Better: call 13812345678.", reasons=["old"])
    assert same == first and store.watermark() == mark
    assert {vote.text for vote in store.feedback() if vote.text} == {"Better: call <PHONE>."}
    for other in (
        {"verdict": "accept"},
        {"verdict": "correct", "text": "Another.", "reasons": ["old"]},
        {"verdict": "correct", "text": "Better: call 13812345678."},
    ):
        with pytest.raises(Conflict, match="reviewed this answer already"):
            store.review("rev", "a", **other)
    assert store.watermark() == mark


def test_a_verdict_that_lacks_something_is_refused(store: Store, ask) -> None:
    store.append(interactions=[ask("a")])
    store.next_for("rev", rules=RULES)
    for said in (
        {"verdict": "reject"},
        {"verdict": "reject", "reasons": [" "]},
        {"verdict": "correct"},
        {"verdict": "correct", "text": "  "},
        {"verdict": "accept", "text": "no"},
        {"verdict": "skip", "reasons": ["\x00"]},
    ):
        with pytest.raises(Refused):
            store.review("rev", "a", **said)
    assert store.reviews_of("a") == []


def test_a_skipped_answer_is_anothers(store: Store, ask) -> None:
    store.append(interactions=[ask("a")])
    reviewed(store, "skip", "ann")
    assert list(store.feedback()) == [] and store.next_for("ann", rules=RULES) is None
    assert store.next_for("bob", rules=RULES).interaction == "a"


def test_declared_metrics_take_the_verdict(where: str, ask) -> None:
    given = [
        Metric(name="bad", kind="thumb", better="lower"),
        Metric(name="rewrite", kind="correction"),
    ]
    with Store.open(where, metrics=Metrics(given)) as store:
        store.append(interactions=[ask("a"), ask("b")])
        good = reviewed(store, "accept")
        mended = reviewed(store, "correct", text="Better.")
        said = {(v.interaction, v.metric): v.value for v in store.feedback()}
        assert said == {(good, "bad"): -1.0, (mended, "rewrite"): None, (mended, "bad"): 1.0}
    stars = Metrics([Metric(name="stars", kind="rating", range=(1, 10))])
    with Store.open(where, metrics=stars) as store:
        store.append(interactions=[ask("c"), ask("d")])
        reviewed(store, "reject", reasons=["wrong"])
        assert [v.value for v in store.feedback() if v.metric == "stars"] == [1.0]
        store.next_for("rev", rules=RULES)
        with pytest.raises(Refused, match="no metric of kind correction"):
            reviewed(store, "correct", text="x")


@pytest.mark.slow
def test_reviewers_may_vote_all_day(store: Store, tmp_path: Path, ask, clock: Clock) -> None:
    """Their pace is their work and no push: as many votes of a user are left out."""
    count = 30

    def vote(answer: int, voter: str) -> Feedback:
        return Feedback(interaction=f"i{answer}", voter=voter, kind="thumb", value=1.0)

    asked = [ask(f"i{n}", prompt=f"{n * 7} why {n}?", response=f"{n}!") for n in range(count)]
    store.append(interactions=asked, feedback=[vote(n, f"u{n}") for n in range(count)])
    while (item := store.next_for("rev", rules=only(random=1))) is not None:
        store.review("rev", item.interaction, "accept")
    few = TrustRules(new_votes_per_day=10, refuse_share=0.9)
    slow = ALL.model_copy(update={"trust": few})
    assert "votes" not in build_snapshot(store, tmp_path, slow).dropped
    store.append(feedback=[vote(n, "fast") for n in range(count)])
    assert build_snapshot(store, tmp_path, slow).dropped["votes"] == {"too_many_a_day": 20}


class _PowerCut(BaseException):
    pass


def test_a_verdict_is_whole_or_absent(store: Store, ask, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(interactions=[ask("a")])
    store.next_for("rev", rules=RULES)
    mark = store.watermark()

    def dies(*_: object) -> int:
        raise _PowerCut

    with monkeypatch.context() as patch, pytest.raises(_PowerCut):
        patch.setattr("feedback_store.writing.appending.append", dies)
        store.review("rev", "a", "correct", text="Better.")
    assert store.reviews_of("a") == [] and store.watermark() == mark
    assert store.review("rev", "a", "correct", text="Better.").verdict == "correct"
    assert {vote.kind for vote in store.feedback()} == {"correction", "thumb"}


def _die_within(where: str) -> None:
    """Begin a verdict's transaction and be killed after the review's row, before its votes."""

    def killed(*_: object) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    appending.append = killed  # type: ignore[assignment]
    with Store.open(where) as store:
        store.next_for("rev", rules=RULES)
        store.review("rev", "a", "correct", text="Better.")


@pytest.mark.slow
def test_a_killed_server_leaves_no_half_of_a_verdict(where: str, ask) -> None:
    with Store.open(where) as store:
        store.append(interactions=[ask("a")])
    dying = multiprocessing.get_context("spawn").Process(target=_die_within, args=(where,))
    dying.start()
    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL
    with Store.open(where) as store:
        assert store.reviews_of("a") == [] and list(store.feedback()) == []
        assert store.next_for("other", rules=RULES) is None  # it is reserved as it was
        store.review("rev", "a", "correct", text="Better.")
        assert len(list(store.feedback())) == 2 and len(store.reviews_of("a")) == 1


# Figures


def test_progress_counts_by_source_and_reviewer(store: Store, ask, clock: Clock) -> None:
    blocked = {"blocked": "diagnosis", "finish_reason": "content_filter"}
    store.append(
        interactions=[*(ask(f"i{n}") for n in range(6)), *(ask(f"b{n}", **blocked) for n in "12")]
    )
    reviewed(store, "accept", "ann")
    clock.now += timedelta(days=1)
    for voter, verdict in (("ann", "accept"), ("bob", "accept"), ("bob", "skip")):
        reviewed(store, verdict, voter)
    told = store.review_progress("default", RULES)
    assert sum(one["total"] for one in told["sources"].values()) == 3
    assert sum(one["today"] for one in told["sources"].values()) == 2
    random_ones, flagged = told["sources"]["random"], told["sources"]["compliance"]
    assert random_ones["waiting"] + random_ones["total"] == 6
    assert flagged["waiting"] + flagged["total"] == 2 and not flagged["more"]
    assert [(one["total"], one["today"]) for one in told["reviewers"]] == [(2, 1), (1, 1)]
    assert told["reviewers"][0]["voter"] == store.pseudonym("ann")
    assert told["agreement"] == {"alpha": None, "answers": 0}


def test_agreement_is_krippendorffs_alpha_of_two_reviewers(store: Store, ask) -> None:
    store.append(interactions=[ask(f"i{n}") for n in range(10)])
    rules = RULES.model_copy(update={"twice": 1.0})
    good = {f"i{n}" for n in range(5)}
    for voter, wrong in (("ann", set()), ("bob", {"i4"})):
        while (item := store.next_for(voter, rules=rules)) is not None:
            up = item.interaction in good - wrong
            said = {"verdict": "accept"} if up else {"verdict": "reject", "reasons": ["bad"]}
            store.review(voter, item.interaction, **said)
    found = store.review_progress("default", rules)["agreement"]
    # 20 values, 9 up and 11 down; one of ten pairs differs: 1 - (20-1) * 2 / (2 * 9 * 11).
    assert found["answers"] == 10 and found["alpha"] == pytest.approx(1 - 19 * 2 / (2 * 9 * 11))


def test_accuracy_on_known_answers_has_its_interval(store: Store, ask) -> None:
    store.append(interactions=[*(ask(f"g{n}") for n in range(6)), *(ask(f"i{n}") for n in "12")])
    for n in range(6):
        store.set_gold(f"g{n}", n % 2 == 0)
    rules = RULES.model_copy(update={"gold": 1.0})
    for voter in ("ann", "bob"):  # known ones are for everybody
        seen = []
        while len(seen) < 6:
            item = store.next_for(voter, rules=rules)
            assert item.source == "gold"
            seen.append(item.interaction)
            store.review(voter, item.interaction, "accept")
        assert sorted(seen) == [f"g{n}" for n in range(6)]
    found = store.gold_accuracy("default")
    low, high = rate_interval(3, 6)
    assert found[store.pseudonym("ann")] == {"n": 6, "rate": 0.5, "low": low, "high": high}
    assert found.keys() == {store.pseudonym("ann"), store.pseudonym("bob")}


# What goes, goes from here too


@pytest.fixture
def busy(store: Store, ask) -> Callable[[], dict[str, int]]:
    """One reviewed answer, one reserved; counts of the rows that speak of a user's answers."""
    store.append(interactions=[ask(f"i{n}", user="pat", created_at=Clock.now) for n in range(2)])
    reviewed(store, "reject", "rev", reasons=["wrong"])
    store.next_for("rev", rules=RULES)

    def count() -> dict[str, int]:
        return store.belongings(store.person(user="pat"))

    return count


def test_erasing_a_user_takes_the_reviews(store: Store, busy) -> None:
    assert busy() == {"interactions": 2, "feedback": 1, "reviews": 1, "reservations": 1}
    person = store.person(user="pat")
    store.erase_rows(store.begin_erasure(person), person)
    assert busy() == {}


def test_erasing_a_reviewer_takes_what_he_said(store: Store, busy) -> None:
    person = store.person(voter="rev")
    assert store.belongings(person) == {"feedback": 1, "reviews": 1, "reservations": 1}
    store.erase_rows(store.begin_erasure(person), person)
    assert busy() == {"interactions": 2} and store.next_for("rev", rules=RULES) is not None


def test_retention_takes_the_reviews_with_their_answer(store: Store, busy, clock: Clock) -> None:
    clock.now += timedelta(days=40)
    store.expire(RetentionRules.model_validate({"people": {"interactions_days": 30}}))
    assert busy() == {}


def test_retention_takes_them_with_their_votes(store: Store, busy, clock: Clock) -> None:
    clock.now += timedelta(days=40)
    store.expire(RetentionRules.model_validate({"people": {"votes_days": 60}}))
    assert busy()["reviews"] == 1
    store.expire(RetentionRules.model_validate({"people": {"votes_days": 30}}))
    assert busy() == {"interactions": 2, "reservations": 1}


def test_a_backup_brings_them_back(tmp_path: Path, ask) -> None:
    from feedback_store import restore

    with Store.open(tmp_path / "s.db") as store:
        store.append(interactions=[ask("a"), ask("b")])
        done = reviewed(store, "reject", reasons=["wrong"])
        store.freeze("default", "exam week")
        store.backup(tmp_path / "b.zip")
    restore(tmp_path / "b.zip", tmp_path / "again" / "s.db", tmp_path / "policies")
    with Store.open(tmp_path / "again" / "s.db") as store:
        assert [review.reason for review in store.reviews_of(done)] == ["wrong"]
        assert store.frozen("default").reason == "exam week"
        assert store.next_for("rev", rules=RULES).interaction != done


def test_no_look_walks_interactions_or_votes(
    sqlite_store: Store, ask, thumb, tmp_path: Path
) -> None:
    """By SQLite's own plans, which without statistics are the same for any number of rows."""
    store = sqlite_store
    blocked = {"blocked": "diagnosis", "finish_reason": "content_filter"}
    store.append(
        interactions=[*(ask(f"i{n}") for n in range(8)), ask("b", **blocked)],
        feedback=[thumb("i0", 1.0, "x"), thumb("i0", -1.0, "y"), thumb("i1", 1.0, "x")],
    )
    store.quarantine([thumb("i1", 1.0, "x").id], "paid for")
    store.set_gold("i2", True)
    said: list[tuple[str, object]] = []

    def hear(_connection, _cursor, statement, parameters, _context, _many) -> None:
        said.append((statement, parameters))

    for engine in (store._database._reader, store._database._writer):
        event.listen(engine, "before_cursor_execute", hear)
    rules = ReviewRules(twice=1.0, gold=1.0)
    for n in range(12):
        item = store.next_for(f"rev{n % 3}", rules=rules)
        store.standing(item.interaction)
        store.review(f"rev{n % 3}", item.interaction, "accept")
    store.review_progress("default", rules)
    store.gold_accuracy("default")
    for engine in (store._database._reader, store._database._writer):
        event.remove(engine, "before_cursor_execute", hear)
    asked = {sql: given for sql, given in said if "SELECT" in sql and "EXPLAIN" not in sql}
    assert len(asked) > 20
    with sqlite3.connect(tmp_path / "store.db") as raw:
        for sql, given in asked.items():
            for *_, step in raw.execute(f"EXPLAIN QUERY PLAN {sql}", given):
                walks = re.fullmatch(r"SCAN (interactions|feedback|comparisons|later)\b.*", step)
                if walks and "ix_interactions_blocked" not in step:
                    raise AssertionError(f"{step}: {sql}")
                # A project's all: bearable only where a number says from where on.
                assert "(project=?)" not in step or "reviews" in step or "held" in step, sql
