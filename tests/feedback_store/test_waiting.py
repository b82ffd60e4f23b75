"""Votes that come before what they speak of."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feedback_store import Conflict, Feedback, Limits, NotFound, Refused, Store, Unavailable

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def opened(folder: Path, clock: Clock | None = None, **limits: object) -> Store:
    return Store.open(folder / "s.db", limits=Limits.model_validate(limits), clock=clock or Clock())


def test_an_early_vote_waits_through_a_restart_and_becomes_live(tmp_path, ask, thumb) -> None:
    with opened(tmp_path) as store:
        assert store.append(feedback=[thumb("a", id="v1")], wait=True) == 0
        assert list(store.feedback()) == [] and store.watermark() == 0
    with opened(tmp_path) as store:
        (early,) = store.waiting()
        assert (early.vote.id, early.awaits, early.since) == ("v1", "a", NOON)
        assert store.append(interactions=[ask("x")]) == 1
        assert store.append(interactions=[ask("a", policy="p1")]) == 3
        (vote,) = store.feedback()
        assert (vote.id, vote.seq, vote.revision) == ("v1", 3, 1)
        assert store.stats()["by_policy"]["p1"]["up"] == 1
        assert list(store.waiting()) == []
        assert store.waiting_counts() == {"waiting": 0, "expired": 0}


def test_nothing_waits_unless_asked(store: Store, thumb) -> None:
    with pytest.raises(NotFound, match="no interaction a"):
        store.append(feedback=[thumb("a")])
    assert store.waiting_counts()["waiting"] == 0


def test_votes_come_to_life_in_the_order_of_their_coming(tmp_path, ask, thumb, compare) -> None:
    with opened(tmp_path) as store:
        for n, value in enumerate((1.0, -1.0, 1.0, -1.0)):
            store.append(feedback=[thumb("a", value, id=f"v{n}")], wait=True)
        store.append(comparisons=[compare("a", "b", "a", id="c")], wait=True)
        store.append(feedback=[thumb("a", voter="bob", id="last")], wait=True)
        store.append(interactions=[ask("a")], feedback=[thumb("a", 1.0, id="same-call")])
        rows = list(store.feedback(live=False))
        assert [row.id for row in rows] == ["v0", "v1", "v2", "v3", "last", "same-call"]
        assert [row.revision for row in rows] == [1, 2, 3, 4, 1, 5]
        (early,) = store.waiting()
        assert early.awaits == "b"
        store.append(interactions=[ask("b")])
        (choice,) = store.comparisons()
        assert (choice.id, choice.seq) == ("c", store.watermark())


def test_a_retraction_waits_behind_its_vote(tmp_path, ask, thumb, compare) -> None:
    with opened(tmp_path) as store:
        votes = {"feedback": [thumb("a")], "comparisons": [compare("b", "a", "tie")]}
        store.append(**votes, wait=True)
        store.withdraw("a", "ann", "thumb")
        store.withdraw_comparison("a", "b", "ann")
        for again in (
            lambda: store.withdraw("a", "ann", "thumb"),
            lambda: store.withdraw_comparison("a", "b", "ann"),
            lambda: store.withdraw("a", "bob", "thumb"),
        ):
            with pytest.raises(NotFound, match="no live"):
                again()
        store.append(interactions=[ask("a"), ask("b")])
        assert list(store.feedback()) == [] and list(store.comparisons()) == []
        assert [row.withdrawn for row in store.feedback(live=False)] == [False, True]
        assert [row.withdrawn for row in store.comparisons(live=False)] == [False, True]


def test_an_early_vote_sent_again_is_the_same_vote(tmp_path, ask, thumb) -> None:
    with opened(tmp_path) as store:
        for _ in range(2):
            store.append(feedback=[thumb("a", id="v")], wait=True)
        assert store.waiting_counts()["waiting"] == 1
        with pytest.raises(Conflict, match="v is taken by another body"):
            store.append(feedback=[thumb("a", -1.0, id="v")], wait=True)
        store.append(interactions=[ask("a")], feedback=[thumb("a", id="v")])
        store.append(feedback=[thumb("a", id="v")])
        assert [row.id for row in store.feedback(live=False)] == ["v"]


def test_there_is_room_for_so_many(tmp_path, ask, thumb) -> None:
    with opened(tmp_path, waiting=3, waiting_of_voter=2) as store:
        ann = [thumb(f"i{n}", id=f"a{n}") for n in range(3)]
        with pytest.raises(Unavailable, match="2 votes of one voter wait"):
            store.append(feedback=ann, wait=True)
        assert store.waiting_counts()["waiting"] == 0
        store.append(feedback=ann[:2], wait=True)
        store.append(feedback=[thumb("i0", voter="bob", id="b0")], wait=True)
        with pytest.raises(Unavailable, match="3 votes wait"):
            store.append(feedback=[thumb("i1", voter="bob", id="b1")], wait=True)
        store.append(interactions=[ask("i0")])
        store.append(feedback=[thumb("i1", voter="bob", id="b1")], wait=True)
        assert store.waiting_counts() == {"waiting": 2, "expired": 0}


def test_who_waits_in_vain_is_given_up_and_counted(tmp_path, ask, thumb) -> None:
    clock = Clock()
    with opened(tmp_path, clock, waiting_age=timedelta(hours=1)) as store:
        store.append(feedback=[thumb("a", id="old")], wait=True)
        clock.now += timedelta(minutes=40)
        store.append(feedback=[thumb("a", -1.0, id="young")], wait=True)
        clock.now += timedelta(minutes=40)
        store.append(interactions=[ask("a")])
        (vote,) = store.feedback(live=False)
        assert vote.id == "young"
        # It was said when it came, not when its interaction did.
        assert vote.created_at == NOON + timedelta(minutes=40)
        assert store.waiting_counts() == {"waiting": 0, "expired": 1}


def test_a_choice_across_projects_is_kept_with_its_reason(tmp_path, ask, compare) -> None:
    with opened(tmp_path) as store:
        store.append(comparisons=[compare("a", "b", "a", project="x", id="c")], wait=True)
        store.append(interactions=[ask("a", project="x")])
        store.append(interactions=[ask("b", project="y")])
        (early,) = store.waiting()
        assert early.awaits is None and "interaction b is of project y" in str(early.problem)
        assert list(store.comparisons(live=False)) == []
        with pytest.raises(Refused, match="is of project y"):
            store.append(comparisons=[compare("b", "new", "a", project="x")], wait=True)


def test_an_early_vote_is_redacted_and_checked_like_any_other(tmp_path, ask) -> None:
    phone = "13812345678"
    with opened(tmp_path) as store:
        word = Feedback(interaction="a", voter="v", kind="comment", text=f"mine is {phone}")
        store.append(feedback=[word], wait=True)
        assert not [f.name for f in tmp_path.iterdir() if phone.encode() in f.read_bytes()]
        with pytest.raises(Refused, match="isn't declared"):
            odd = Feedback(interaction="a", voter="v", kind="thumb", metric="odd", value=1)
            store.append(feedback=[odd], wait=True)
        store.append(interactions=[ask("a")])
        assert [row.text for row in store.feedback()] == ["mine is <PHONE>"]


def test_a_snapshot_of_an_earlier_watermark_does_not_change(tmp_path, ask, thumb) -> None:
    with opened(tmp_path) as store:
        mark = store.append(interactions=[ask("x")], feedback=[thumb("a")], wait=True)
        store.append(interactions=[ask("a")])
        assert list(store.feedback(upto=mark)) == []
        assert len(list(store.feedback())) == 1
