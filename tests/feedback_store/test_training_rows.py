"""Which rows which votes make, read from the files of a built snapshot."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from feedback_store import (
    Feedback,
    Interaction,
    Message,
    SnapshotRules,
    Store,
    build_snapshot,
    is_held_out,
)
from feedback_store.snapshots.budget import Budget
from feedback_store.snapshots.training_rows import Row

ALL = SnapshotRules(held_out=0.0)


@pytest.fixture
def rows(store: Store, tmp_path: Path):
    def build(rules: SnapshotRules = ALL) -> dict[str, list[dict[str, Any]]]:
        manifest = build_snapshot(store, tmp_path / "snapshots", rules)
        folder = tmp_path / "snapshots" / manifest.id
        found: dict[str, Any] = {"manifest": manifest}
        for name in manifest.files:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
            found[name.removesuffix(".jsonl")] = [json.loads(line) for line in lines]
        return found

    return build


def correction(interaction: str, text: str, voter: str = "ann") -> Feedback:
    id = f"fix-{interaction}-{voter}"
    return Feedback(id=id, interaction=interaction, voter=voter, kind="correction", text=text)


def rating(interaction: str, value: float, voter: str = "ann") -> Feedback:
    id = f"rate-{interaction}-{voter}"
    return Feedback(id=id, interaction=interaction, voter=voter, kind="rating", value=value)


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_an_upvote_is_a_kto_and_an_sft_row(store, ask, thumb, rows) -> None:
    store.append(
        interactions=[ask("a", style_used="brief", intent="greeting", policy="p1")],
        feedback=[thumb("a")],
    )
    found = rows()
    row = {
        "prompt": [{"role": "user", "content": "How are you?"}],
        "completion": said("Fine."),
        "weight": 1.0,
        "style": "brief",
        "intent": "greeting",
        "conversation": "a",
        "votes": ["thumb-a-ann-1.0"],
        "policies": ["p1"],
    }
    assert found["sft"] == [row]
    assert found["kto"] == [row | {"label": True}]
    assert found["dpo"] == []
    kept = ("prompt", "style", "intent", "conversation")
    assert found["prompts"] == [{name: row[name] for name in kept}]


def test_ratings_count_from_the_thresholds(store, ask, rows) -> None:
    interactions = [ask(f"i{n}", prompt=f"q{n}") for n in range(1, 6)]
    store.append(interactions=interactions, feedback=[rating(f"i{n}", n) for n in range(1, 6)])
    found = rows()
    labels = {row["prompt"][0]["content"]: row["label"] for row in found["kto"]}
    assert labels == {"q1": False, "q2": False, "q4": True, "q5": True}
    assert found["manifest"].counts["neutral"] == 1
    assert len(rows(SnapshotRules(held_out=0.0, rating_up=3))["kto"]) == 5


def test_a_choice_is_a_pair(store, ask, compare, rows) -> None:
    store.append(
        interactions=[ask("a", response="A", policy="p2"), ask("b", response="B", policy="p1")],
        comparisons=[compare("a", "b", "b", reason="regenerate")],
    )
    (pair,) = rows()["dpo"]
    assert (pair["chosen"], pair["rejected"]) == (said("B"), said("A"))
    assert pair["policies"] == ["p1", "p2"]
    assert pair["votes"] == ["choice-a-b-ann-b"]
    assert rows()["sft"] == rows()["kto"] == []


def test_up_and_down_on_a_prompt_are_a_pair(store, ask, thumb, rows) -> None:
    store.append(
        interactions=[
            ask("good", response="A"),
            ask("bad", response="B"),
            ask("else", response="C", style_used="long"),
            ask("there", response="D", project="other"),
        ],
        feedback=[thumb("good"), thumb("bad", -1.0), thumb("else", -1.0), thumb("there", -1.0)],
    )
    found = rows()
    (pair,) = found["dpo"]
    assert (pair["chosen"], pair["rejected"]) == (said("A"), said("B"))
    assert pair["votes"] == ["thumb-bad-ann--1.0", "thumb-good-ann-1.0"]
    assert len(found["kto"]) == 3


def test_pairs_of_one_prompt_are_bounded(store, ask, thumb, rows) -> None:
    interactions = [ask(f"i{n}", response=f"answer {n}") for n in range(12)]
    votes = [thumb(f"i{n}", 1.0 if n < 6 else -1.0) for n in range(12)]
    store.append(interactions=interactions, feedback=votes)
    assert len(rows(SnapshotRules(held_out=0.0, pairs_per_prompt=100))["dpo"]) == 36
    few = rows(SnapshotRules(held_out=0.0, pairs_per_prompt=6))["dpo"]
    assert len({row["chosen"][0]["content"] for row in few}) == 6


def test_which_pairs_are_kept_does_not_hang_on_their_order(tmp_path: Path, ask, thumb) -> None:
    interactions = [ask(f"i{n}", response=f"answer {n}") for n in range(12)]
    votes = [thumb(f"i{n}", 1.0 if n < 6 else -1.0) for n in range(12)]
    ids = set()
    for name, said in (("one", votes), ("other", votes[5::-1] + votes[6:])):
        with Store.open(tmp_path / f"{name}.db") as store:
            store.append(interactions=interactions, feedback=said)
            rules = SnapshotRules(held_out=0.0, pairs_per_prompt=6)
            ids.add(build_snapshot(store, tmp_path, rules).id)
    assert len(ids) == 1


def test_a_correction_is_a_pair_and_an_sft_row(store, ask, rows) -> None:
    store.append(interactions=[ask("a")], feedback=[correction("a", "Very well, and you?")])
    found = rows()
    (pair,), (sft,) = found["dpo"], found["sft"]
    assert (pair["chosen"], pair["rejected"]) == (said("Very well, and you?"), said("Fine."))
    assert sft["completion"] == pair["chosen"]
    assert found["kto"] == []


def test_ties_are_counted_and_both_bad_is_two_negatives(store, ask, compare, thumb, rows) -> None:
    store.append(
        interactions=[ask("a", response="A"), ask("b", response="B"), ask("c", response="C")],
        comparisons=[compare("a", "b", "tie"), compare("b", "c", "both_bad")],
    )
    found = rows()
    assert [(row["completion"], row["label"]) for row in found["kto"]] in (
        [(said("B"), False), (said("C"), False)],
        [(said("C"), False), (said("B"), False)],
    )
    assert found["dpo"] == found["sft"] == []
    counts = found["manifest"].counts
    assert (counts["ties"], counts["both_bad"], counts["comparison"]) == (1, 1, 2)


def test_voters_who_disagree_weigh_less_and_cancel_out(store, ask, thumb, compare, rows) -> None:
    interactions = [ask("a", response="A"), ask("b", prompt="q", response="B")]
    votes = [thumb("a", v, voter=f"v{n}") for n, v in enumerate((1.0, 1.0, -1.0))]
    votes += [thumb("b", v, voter=f"v{n}") for n, v in enumerate((1.0, -1.0))]
    store.append(interactions=interactions, feedback=votes)
    found = rows()
    (row,) = found["kto"]
    assert (row["completion"], row["weight"]) == (said("A"), 0.333333)
    assert row["votes"] == sorted(vote.id for vote in votes[:3])
    assert found["manifest"].dropped["kto.jsonl"] == {"contradiction": 1}


def test_a_voter_with_two_metrics_is_one_voter(store, ask, thumb, rows) -> None:
    votes = [thumb("a"), rating("a", 5), thumb("a", -1.0, voter="bob"), thumb("a", voter="cy")]
    store.append(interactions=[ask("a")], feedback=votes)
    (row,) = rows()["kto"]
    assert row["weight"] == 0.333333


def test_the_same_answer_twice_is_one_row(store, ask, thumb, rows) -> None:
    store.append(
        interactions=[ask("a", policy="p1"), ask("b", policy="p2")],
        feedback=[thumb("a", voter="ann"), thumb("b", voter="bob")],
    )
    (row,) = rows()["kto"]
    assert row["votes"] == ["thumb-a-ann-1.0", "thumb-b-bob-1.0"]
    assert (row["policies"], row["conversation"]) == (["p1", "p2"], "a")


def test_only_live_votes_count(store, ask, thumb, rows) -> None:
    store.append(interactions=[ask("a"), ask("b", prompt="q")], feedback=[thumb("a"), thumb("b")])
    store.append(feedback=[thumb("a", -1.0)])
    store.withdraw("b", "ann", "thumb")
    (row,) = rows()["kto"]
    assert (row["label"], row["votes"]) == (False, ["thumb-a-ann--1.0"])


def test_what_may_not_or_cannot_train_is_left_out(store, ask, thumb, compare, rows) -> None:
    left_out = {
        "no_consent": ask("a", prompt="qa", consent=False),
        "simulated": ask("b", prompt="qb", simulated=True),
        "unfinished": ask("c", prompt="qc", finish_reason="cancelled"),
        "empty": ask("d", prompt="qd", response=" "),
        "long_prompt": ask("e", prompt="q" * 101),
    }
    store.append(
        interactions=[*left_out.values(), ask("x", prompt="qx"), ask("y", prompt="qy")],
        feedback=[*(thumb(row.id) for row in left_out.values()), thumb("x")],
        comparisons=[compare("x", "y", "a")],
    )
    store.append(feedback=[thumb("y", simulated=True)])
    found = rows(SnapshotRules(held_out=0.0, include_simulated=False, max_prompt_chars=100))
    assert [row["prompt"][0]["content"] for row in found["kto"]] == ["qx"]
    assert {row["prompt"][0]["content"] for row in found["prompts"]} == {"qx", "qy"}
    dropped = found["manifest"].dropped
    assert dropped["interactions"] == dict.fromkeys(left_out, 1)
    assert dropped["votes"] == {"different_prompts": 1, "interaction_left_out": 5, "simulated": 1}
    assert len(rows()["kto"]) == 4  # simulated ones count by default


def test_placeholders_are_never_taught(store, ask, thumb, compare, rows) -> None:
    store.append(
        interactions=[
            ask("a", response="Call 13812345678."),
            ask("b", response="Call us."),
            ask("c", prompt="I am a@b.com", response="Noted."),
        ],
        feedback=[thumb("a"), thumb("a", -1.0, voter="bob"), thumb("c")],
        comparisons=[compare("a", "b", "a")],
    )
    store.append(feedback=[thumb("a", 1.0, voter="bob"), correction("b", "Call 13812345678")])
    found = rows()
    assert [row["completion"] for row in found["sft"]] == [said("Noted.")]
    assert [row["completion"] for row in found["kto"]] == [said("Noted.")]
    assert found["dpo"] == []
    dropped = found["manifest"].dropped
    assert dropped["dpo.jsonl"] == {"placeholder": 2}
    assert dropped["sft.jsonl"] == {"placeholder": 2}
    store.append(comparisons=[compare("b", "a", "a")])
    (pair,) = rows()["dpo"]  # as the rejected answer it may stand
    assert pair["rejected"] == said("Call <PHONE>.")


def test_recency_and_window_count_from_the_newest_row(store, ask, thumb, rows) -> None:
    newest = datetime(2026, 1, 1, tzinfo=UTC)
    for days in (0, 29, 30, 60):
        at = newest - timedelta(days=days, hours=1 if days else 0)
        row = ask(f"i{days}", prompt=f"q{days}", created_at=at)
        store.append(interactions=[row], feedback=[thumb(row.id, created_at=at)])
    half = SnapshotRules(held_out=0.0, recency_half_life_days=30)
    weights = {row["prompt"][0]["content"]: row["weight"] for row in rows(half)["kto"]}
    day_29 = round(0.5 ** (29 / 30), 6)
    assert weights == {"q0": 1.0, "q29": day_29, "q30": 0.5, "q60": 0.25}
    window = rows(SnapshotRules(held_out=0.0, window=2))
    assert {row["prompt"][0]["content"] for row in window["kto"]} == {"q0", "q29"}
    assert window["manifest"].dropped["kto.jsonl"] == {"over_budget": 2}
    assert len(rows(SnapshotRules(held_out=0.0, window=2, replay=1))["kto"]) == 3


def test_replay_draws_by_weight() -> None:
    weights = [1.0 if n % 2 else 0.1 for n in range(4_000)]
    old = [Row(sha256(b"%d" % n).hexdigest(), 9, w, b"") for n, w in enumerate(weights)]
    budget = Budget(SnapshotRules(window=0, replay=400))
    for row in old:
        budget.see(row)
    kept = [row for row in old if budget.keeps(row)]
    heavy = sum(row.weight == 1.0 for row in kept)
    assert len(kept) == budget.kept == 400
    assert heavy / 400 > 0.85  # ten to one, and half of the rows are heavy


def test_held_out_conversations_and_prompts_never_train(store, ask, thumb, compare, rows) -> None:
    rules = SnapshotRules(held_out=0.3)
    interactions = [ask(f"i{n}", prompt=f"q{n // 2}", response=f"r{n}") for n in range(80)]
    votes = [thumb(f"i{n}", 1.0 if n % 4 < 2 else -1.0) for n in range(80)]
    choices = [compare(f"i{n}", f"i{n + 1}", "a") for n in range(0, 80, 2)]
    store.append(interactions=interactions, feedback=votes, comparisons=choices)
    found = rows(rules)
    held = {row["prompt"][0]["content"] for row in found["heldout_prompts"]}
    for name in ("sft", "dpo", "kto", "prompts"):
        assert found[name]
        assert not held & {row["prompt"][0]["content"] for row in found[name]}
    for name, lines in found.items():
        if name != "manifest":
            for row in lines:
                assert is_held_out(row["conversation"], 0.3) == name.startswith("heldout_")
    assert len(found["heldout_comparisons"]) == len(held)
    row = found["heldout_comparisons"][0]
    assert (row["choice"], row["shown_first"], row["a"][0], row["b"][0]) == ("a", None, "r", "r")
    assert found["manifest"].dropped["kto.jsonl"]["held_out_prompt"] > 0


def test_messages_keep_their_roles(store, thumb, rows) -> None:
    turns = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "再见")]
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    store.append(
        interactions=[Interaction(id="a", messages=messages, response="再见！")],
        feedback=[thumb("a")],
    )
    (row,) = rows()["sft"]
    assert [(m["role"], m["content"]) for m in row["prompt"]] == turns


def test_answers_that_a_limit_cut_off_are_named(store, ask, thumb, compare, rows) -> None:
    store.append(
        interactions=[
            ask("a", response="It leaves to", finish_reason="length"),
            ask("b", response="It leaves today.", finish_reason="stop"),
            ask("c", response="Again", finish_reason="length"),
            ask("d", response="Again", finish_reason="stop"),  # the same text, once finished
        ],
        feedback=[thumb("a"), thumb("c", value=-1.0)],
        comparisons=[compare("b", "a", choice="a")],
    )
    found = rows()
    votes = {row["completion"][0]["content"]: row.get("unfinished") for row in found["kto"]}
    assert votes == {"It leaves to": ["completion"], "Again": None}
    assert [row.get("unfinished") for row in found["sft"]] == [["completion"]]
    chosen = {row["chosen"][0]["content"]: row.get("unfinished") for row in found["dpo"]}
    assert chosen == {"It leaves today.": ["rejected"], "It leaves to": ["chosen"]}
