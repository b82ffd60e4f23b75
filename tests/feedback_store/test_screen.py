"""The quick look at all groups of votes lets every one through that the judgement would test."""

from pathlib import Path

import numpy as np
import pytest
from vote_pushers import push
from vote_traffic import Honest

from feedback_store import SnapshotRules, Store
from feedback_store.snapshots.gathering import PARTITIONS, Gathering
from feedback_store.snapshots.spool import Spool
from feedback_store.trust import trust_as_of
from feedback_store.trust.ballots import Ballots
from feedback_store.trust.chance import binomial_tail, binomial_terms
from feedback_store.trust.groups import Runs, things
from feedback_store.trust.phrases import near_duplicates
from feedback_store.trust.suspicion import Crowd, Group, _tested

RULES = SnapshotRules(held_out=0.0)


def fill(store: Store, seed: int, how: str) -> None:
    for traffic in (Honest(seed, votes=600).traffic, push(seed, 30, 15, how)[0]):
        store.append(
            interactions=traffic.interactions,
            feedback=traffic.feedback,
            comparisons=traffic.comparisons,
        )


def one_by_one(crowd: Crowd, clusters: np.ndarray) -> list[tuple]:
    """Every group, judged with nothing left out beforehand."""
    seen, found = set(), []
    for many in things(crowd.ballots, clusters):
        for thing, side in np.argwhere(many.large).tolist():
            support, against = many.sides[side][thing], many.sides[1 - side][thing]
            if support.tobytes() in seen:
                continue
            seen.add(support.tobytes())
            group = Group(many.kind, many.what[thing], support, against)
            made = crowd.judge(group, crowded=True)
            if made is not None:
                found.append((many.kind, group.what, support.tolist(), made))
    return found


@pytest.mark.parametrize("how", ["burst", "slow"])
def test_nothing_that_can_be_tested_is_screened_out(sqlite_store: Store, how: str) -> None:
    fill(sqlite_store, 3, how)
    ballots = sqlite_store.ballots("default", sqlite_store.watermark())
    clusters, crowd = near_duplicates(ballots.prompts), Crowd(ballots)
    expected = one_by_one(crowd, clusters)
    found = [(group.kind, group.what, group.support.tolist(), made)
             for group, made in _tested(crowd, clusters)]  # fmt: skip
    assert len(found) == len(expected) > 5
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[:3] == theirs[:3]
        assert ours[3].p_value == theirs[3].p_value and ours[3].burst == theirs[3].burst
        assert ours[3].ballots.tolist() == theirs[3].ballots.tolist()


def test_a_snapshot_trusts_as_the_judgement_alone_does(sqlite_store: Store, tmp_path: Path) -> None:
    fill(sqlite_store, 4, "burst")
    mark = sqlite_store.watermark()
    alone = trust_as_of(sqlite_store, RULES, mark)
    with Spool(tmp_path, PARTITIONS) as spool:
        within = Gathering(sqlite_store, RULES, mark, spool).trust
    assert alone.reasons and alone.factors
    assert (within.reasons, within.factors, within.voters) == (
        alone.reasons, alone.factors, alone.voters)  # fmt: skip


def test_a_term_is_less_than_its_tail() -> None:
    count, trials = np.array([0, 3, 3, 20]), np.array([0, 3, 10, 25])
    chance = np.array([0.3, 1.0, 0.2, 1e-3])
    tails = [binomial_tail(*each) for each in zip(count.tolist(), trials.tolist(),
                                                  chance.tolist(), strict=True)]  # fmt: skip
    terms = binomial_terms(count, trials, chance)
    assert (terms <= np.array(tails) * (1 + 1e-9)).all()
    assert terms[2] == pytest.approx(120 * 0.2**3 * 0.8**7)


def test_runs_keep_things_without_votes() -> None:
    runs = Runs.of(np.array([5, 2, 9, 1]), np.array([3, 1, 1, 3]), 5)
    assert [runs[thing].tolist() for thing in range(5)] == [[], [2, 9], [], [1, 5], []]
    some = runs.only(np.array([3, 0, 1]))
    assert [some[thing].tolist() for thing in range(3)] == [[1, 5], [], [2, 9]]
    assert some.thing.tolist() == [0, 0, 2, 2]


def test_an_empty_store_has_no_groups(sqlite_store: Store) -> None:
    ballots = sqlite_store.ballots("default", 0)
    assert isinstance(ballots, Ballots) and len(ballots) == 0
    assert list(things(ballots, near_duplicates(ballots.prompts))) == []
