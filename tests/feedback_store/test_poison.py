"""Of 2,000 honest votes, some more by colluding accounts that push one phrase.

`vote_pushers` makes the attacks and `vote_traffic` the honest votes; neither uses the detector.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from vote_pushers import push
from vote_traffic import Honest, Traffic

from feedback_store import SnapshotManifest, SnapshotRules, Store, build_snapshot
from feedback_store.trust import TrustRules, trust_as_of

RULES = SnapshotRules(held_out=0.0)
TRUSTING = SnapshotRules(held_out=0.0, trust=TrustRules(enabled=False))


@dataclass
class Town:
    """Honest votes in a store, and what they weigh where everybody is believed."""

    path: Path
    single: set[str]
    """The votes of those who cast one."""
    weights: dict[str, float]


def unredacted(text: str) -> str:
    return text


def weights(folder: Path, manifest: SnapshotManifest) -> dict[str, float]:
    """Each vote's part of the rows of all files."""
    found: dict[str, float] = defaultdict(float)
    for name in ("sft.jsonl", "dpo.jsonl", "kto.jsonl"):
        for line in (folder / manifest.id / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for vote in row["votes"]:
                found[vote] += row["weight"] / len(row["votes"])
    return found


def put(store: Store, traffic: Traffic) -> None:
    store.append(
        interactions=traffic.interactions,
        feedback=traffic.feedback,
        comparisons=traffic.comparisons,
    )


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    made: dict[int, Town] = {}

    def of(seed: int) -> Town:
        if seed not in made:
            folder = tmp_path_factory.mktemp(f"town{seed}")
            honest = Honest(seed)
            votes = [*honest.traffic.feedback, *honest.traffic.comparisons]
            with Store.open(folder / "s.db", redact=unredacted) as store:
                put(store, honest.traffic)
                manifest = build_snapshot(store, folder, TRUSTING)
            single = {vote.id for vote in votes if vote.voter in honest.single_voters}
            made[seed] = Town(folder / "s.db", single, weights(folder, manifest))
        return made[seed]

    yield of


def attacked(town: Town, traffic: Traffic, folder: Path) -> tuple[dict[str, float], set[str]]:
    """What each vote weighs after the attack, and which are flagged: held, or bounded."""
    for name in ("s.db", "s.db.key"):
        shutil.copy(town.path.with_name(name), folder / name)
    with Store.open(folder / "s.db", redact=unredacted) as store:
        put(store, traffic)
        trust = trust_as_of(store, RULES, store.watermark())
        votes = [*store.feedback(), *store.comparisons()]
        flagged = {vote.id for vote in votes if trust.held(vote) or vote.seq in trust.suspected}
        return weights(folder, build_snapshot(store, folder, RULES)), flagged


def check(town: Town, traffic: Traffic, folder: Path, *, flagged_share: float) -> None:
    found, flagged = attacked(town, traffic, folder)
    pushed = {vote.id for vote in (*traffic.feedback, *traffic.comparisons)}
    assert sum(found.get(vote, 0.0) for vote in pushed) <= 0.005 * sum(found.values())
    assert len(pushed & flagged) >= flagged_share * len(pushed)
    for honest in (set(town.weights), town.single & set(town.weights)):
        kept = sum(found.get(vote, 0.0) for vote in honest)
        assert kept >= 0.98 * sum(town.weights[vote] for vote in honest)


QUICK = [(10, 5), (20, 20), (100, 3)]
GRID = [(votes, k) for votes in (10, 20, 100) for k in (1, 2, 3, 5, 10, 20, 50, 100) if k <= votes]
MIXED = ("thumb", "correction", "choice")


@pytest.mark.parametrize(("votes", "accounts"), QUICK)
def test_a_burst_is_flagged(town, tmp_path: Path, votes: int, accounts: int) -> None:
    traffic, _ = push(1, votes, accounts, "burst")
    check(town(1), traffic, tmp_path, flagged_share=0.95)


@pytest.mark.parametrize(("votes", "accounts"), [(20, 20), (100, 50)])
def test_a_slow_push_is_bounded(town, tmp_path: Path, votes: int, accounts: int) -> None:
    traffic, _ = push(1, votes, accounts, "slow")
    check(town(1), traffic, tmp_path, flagged_share=0.0)


def test_other_kinds_of_votes_push_no_further(town, tmp_path: Path) -> None:
    traffic, _ = push(1, 40, 10, "burst", MIXED)
    check(town(1), traffic, tmp_path, flagged_share=0.95)


def test_honest_votes_alone_keep_their_weight(town, tmp_path: Path) -> None:
    check(town(1), Traffic(), tmp_path, flagged_share=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("how", ["burst", "slow"])
@pytest.mark.parametrize(("votes", "accounts"), GRID)
def test_every_push(town, tmp_path: Path, votes: int, accounts: int, how, seed: int) -> None:
    traffic, _ = push(seed, votes, accounts, how)
    # One account's votes are no burst of many; it is bounded or held all the same.
    share = 0.95 if how == "burst" and accounts > 1 else 0.0
    check(town(seed), traffic, tmp_path, flagged_share=share)


@pytest.mark.parametrize("seed", [5])
def test_the_order_of_arrival_leaves_no_trace(town, tmp_path: Path, seed: int) -> None:
    honest, (pushed, _) = Honest(seed, votes=300).traffic, push(seed, 20, 5, "burst")
    ids = []
    for turn in (1, -1):
        with Store.open(tmp_path / f"{turn}.db", redact=unredacted) as store:
            for traffic in (honest, pushed)[::turn]:
                store.append(
                    interactions=traffic.interactions[::turn],
                    feedback=traffic.feedback[::turn],
                    comparisons=traffic.comparisons[::turn],
                )
            ids.append(build_snapshot(store, tmp_path, RULES))
    assert ids[0] == ids[1] and ids[0].dropped["votes"] == {"burst": 20}
