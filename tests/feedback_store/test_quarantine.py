"""Votes held back by hand and let go again; known answers; what a snapshot makes of them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from vote_pushers import push
from vote_traffic import Honest

from feedback_store import Feedback, NotFound, Refused, SnapshotRules, Store, build_snapshot
from feedback_store.trust import TrustRules, trust_as_of

ALL = SnapshotRules(held_out=0.0)


def rows(folder: Path, id: str, name: str = "kto.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / id / name).read_text().splitlines()]


def test_a_held_vote_stays_out_until_it_is_released(store: Store, tmp_path: Path, ask, thumb):
    store.append(
        interactions=[ask("a"), ask("b", prompt="q")], feedback=[thumb("a"), thumb("b", -1.0)]
    )
    whole = build_snapshot(store, tmp_path, ALL)
    vote = thumb("a").id
    store.quarantine([vote], "paid for")
    held = build_snapshot(store, tmp_path, ALL)
    assert [row["votes"] for row in rows(tmp_path, held.id)] == [[thumb("b", -1.0).id]]
    assert held.dropped["votes"] == {"quarantined": 1}
    assert [(one.vote, one.reason) for one in store.quarantined()] == [(vote, "paid for")]
    assert build_snapshot(store, tmp_path, ALL, watermark=whole.watermark) == whole
    store.release([vote], "checked with the voter")
    back = build_snapshot(store, tmp_path, ALL)
    assert back.files == whole.files and store.quarantined() == []
    assert build_snapshot(store, tmp_path, ALL, watermark=held.watermark) == held
    assert [one.vote for one in store.quarantined(held.watermark)] == [vote]


def test_comparisons_are_held_too(store: Store, tmp_path: Path, ask, compare, thumb) -> None:
    choice = compare("a", "b", "a")
    store.append(
        interactions=[ask("a"), ask("b", response="Bad.")],
        feedback=[thumb("a")],
        comparisons=[choice],
    )
    store.quarantine([choice.id], "a test")
    manifest = build_snapshot(store, tmp_path, ALL)
    assert manifest.files["dpo.jsonl"].rows == 0 and manifest.dropped["votes"] == {"quarantined": 1}


def test_a_held_vote_counts_as_held_whatever_it_is_on(
    store: Store, tmp_path: Path, ask, thumb, compare
) -> None:
    comment = Feedback(interaction="a", voter="ann", kind="comment", text="Thanks.")
    apart, left = compare("a", "q", "a"), compare("a", "no", "a")
    store.append(
        interactions=[ask("a"), ask("q", prompt="q"), ask("no", response="No.", consent=False)],
        feedback=[thumb("a"), thumb("no"), thumb("no", voter="bob"), comment],
        comparisons=[apart, left],
    )
    free = build_snapshot(store, tmp_path, ALL)
    assert free.dropped["votes"] == {"different_prompts": 1, "interaction_left_out": 3}
    store.quarantine([comment.id, thumb("no").id, apart.id, left.id], "a test")
    held = build_snapshot(store, tmp_path, ALL)
    assert held.dropped["votes"] == {"interaction_left_out": 1, "quarantined": 4}
    assert held.files == free.files


def test_a_decision_names_known_votes_and_a_reason(store: Store, ask, thumb) -> None:
    store.append(interactions=[ask("a")], feedback=[thumb("a")])
    before = store.watermark()
    with pytest.raises(NotFound, match="no vote nothing"):
        store.quarantine([thumb("a").id, "nothing"], "why")
    for reason in ("", " ", "x" * 1_001, "bell\x07"):
        with pytest.raises(Refused, match="a reason is"):
            store.quarantine([thumb("a").id], reason)
    assert store.watermark() == before and store.quarantined() == []


def test_gold_is_kept_as_of_its_watermark(store: Store, ask) -> None:
    store.append(interactions=[ask("a"), ask("b")])
    store.set_gold("a", True)
    before = store.watermark()
    store.set_gold("a", None)
    store.set_gold("b", False)
    assert store.gold() == {"b": False} and store.gold(before) == {"a": True}
    with pytest.raises(NotFound, match="no interaction c"):
        store.set_gold("c", True)


def test_gold_finds_the_careless_where_nothing_repeats(store: Store, ask, thumb) -> None:
    """40 answers, each judged by one careful and one careless voter; 20 of them are known."""
    answers = [ask(f"i{n}", prompt=f"q{n}", response=f"r{n}") for n in range(40)]
    store.append(interactions=answers)
    for n in range(40):
        up = n % 3 > 0
        store.append(
            feedback=[
                thumb(f"i{n}", 1.0 if up else -1.0, voter="careful"),
                thumb(f"i{n}", 1.0, voter="always-up") if n % 2 else
                thumb(f"i{n}", -1.0, voter="always-down"),
                thumb(f"i{n}", -1.0 if up else 1.0, voter="contrary"),
            ]
        )  # fmt: skip
        if n < 20:
            store.set_gold(f"i{n}", up)
    store.append(feedback=[thumb("i1", voter="newcomer")])
    trust = trust_as_of(store, ALL, store.watermark())
    assert "careful" not in trust.voters and "newcomer" not in trust.voters
    assert trust.voters[store.pseudonym("contrary")] == 0.0


def test_an_unreliable_voter_weighs_less_in_a_row(store: Store, tmp_path: Path, ask, thumb):
    """Four who agree and one who flips coins, on 60 answers."""
    answers = [ask(f"i{n}", prompt=f"q{n}", response=f"r{n}") for n in range(60)]
    votes = [
        thumb(f"i{n}", 1.0 if n % 3 else -1.0, voter=voter)
        for n in range(60)
        for voter in ("ann", "bob", "eve", "dan")
    ]
    votes += [thumb(f"i{n}", 1.0 if n % 2 else -1.0, voter="coin") for n in range(60)]
    store.append(interactions=answers, feedback=votes)
    trust = trust_as_of(store, ALL, store.watermark())
    coin = store.pseudonym("coin")
    assert set(trust.voters) == {coin} and trust.voters[coin] < 0.5
    built = {row["completion"][0]["content"]: row["weight"] for row in
             rows(tmp_path, build_snapshot(store, tmp_path, ALL).id)}  # fmt: skip
    assert built["r1"] == pytest.approx((4 + trust.voters[coin]) / 5, abs=1e-6)
    assert built["r2"] == pytest.approx((4 - trust.voters[coin]) / 5, abs=1e-6)


def test_a_voters_share_is_bounded(store: Store, tmp_path: Path, ask, thumb) -> None:
    """One of a hundred voters casts half of the votes, each on an answer of its own."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    answers = [ask(f"i{n}", prompt=f"{n * 7} why {n}?", response=f"{n}!") for n in range(200)]
    votes = [
        thumb(f"i{n}", 1.0 if n % 4 else -1.0, voter="loud" if n < 100 else f"v{n}",
              created_at=start + timedelta(hours=n))
        for n in range(200)
    ]  # fmt: skip
    store.append(interactions=answers, feedback=votes)
    rules = SnapshotRules(held_out=0.0, trust=TrustRules(voter_share=0.2))
    kto = rows(tmp_path, build_snapshot(store, tmp_path, rules).id)
    loud = sum(row["weight"] for row in kto if "-loud-" in row["votes"][0])
    assert loud / sum(row["weight"] for row in kto) == pytest.approx(0.2, abs=0.01)
    assert all(row["weight"] == 1 for row in kto if "-loud-" not in row["votes"][0])


def test_votes_beyond_a_days_rate_are_left_out(store: Store, tmp_path: Path, ask, thumb) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    answers = [ask(f"i{n}", prompt=f"{n * 7} why {n}?", response=f"{n}!") for n in range(60)]
    fast = [
        thumb(f"i{n}", voter="fast", created_at=start + timedelta(days=n // 30, seconds=n))
        for n in range(60)
    ]
    others = [thumb(f"i{n}", voter=f"v{n}", created_at=start) for n in range(12)]
    store.append(interactions=answers, feedback=fast + others)
    rules = SnapshotRules(
        held_out=0.0, trust=TrustRules(new_votes_per_day=10, votes_per_day=20, refuse_share=0.9)
    )
    trust = trust_as_of(store, rules, store.watermark())
    assert list(trust.reasons.values()) == ["too_many_a_day"] * 30  # 20 of day one, 10 of day two
    late = {vote.id for vote in (*fast[10:30], *fast[50:])}
    assert {vote.id for vote in store.feedback() if trust.held(vote)} == late


def test_a_flood_refuses_the_build(store: Store, tmp_path: Path) -> None:
    honest, (pushed, _) = Honest(3, votes=150).traffic, push(3, 100, 20, "burst")
    for traffic in (honest, pushed):
        store.append(interactions=traffic.interactions, feedback=traffic.feedback,
                     comparisons=traffic.comparisons)  # fmt: skip
    with pytest.raises(Refused, match=r"1\d\d of 250 votes look like a push .*trust.refuse_share"):
        build_snapshot(store, tmp_path, ALL)
    assert store.snapshots() == []
    store.quarantine([f"x{n}" for n in range(100)], "a push")
    assert build_snapshot(store, tmp_path, ALL).dropped["votes"] == {"quarantined": 100}


def test_a_burst_can_be_released(store: Store, tmp_path: Path) -> None:
    honest, (pushed, _) = Honest(4, votes=600).traffic, push(4, 20, 20, "burst")
    for traffic in (honest, pushed):
        store.append(interactions=traffic.interactions, feedback=traffic.feedback,
                     comparisons=traffic.comparisons)  # fmt: skip
    manifest = build_snapshot(store, tmp_path, ALL)
    assert manifest.dropped["votes"] == {"burst": 20}
    store.release([f"x{n}" for n in range(20)], "a class that was asked to vote")
    again = build_snapshot(store, tmp_path, ALL)
    assert "votes" not in again.dropped
    kept = {vote for row in rows(tmp_path, again.id) for vote in row["votes"]}
    assert {f"x{n}" for n in range(20)} <= kept
