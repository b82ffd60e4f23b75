"""A loop's store carried to another machine, and its runs pruned."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedback_store import Feedback, Interaction, Message, Store, is_held_out
from rlhf.evaluation.winrate import power_for_each, prompts_to_win
from rlhf.lineage import ancestry
from rlhf.release import champion
from rlhf.rounds import run_loop
from rlhf.runs import trainer_lock

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

Call = Callable[..., tuple[int, str, str]]


LENIENT = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}}
ONE_STAGE = [{"stage": "dpo", "learning_rate": 1e-2, "tracking": "none"}]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_backup_serves_and_trains_on_elsewhere(
    config: Any, workspace: Path, tmp_path: Path, rlhf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outcome,) = run_loop(config(gate=LENIENT, stages=ONE_STAGE), workspace)
    code, out, _ = rlhf("votes", "backup", "kept.zip", "--json")
    told = json.loads(out)
    assert code == 0 and told["champions"] == [outcome.champion] and told["key"]
    with Store.open("runs/feedback.db") as store:
        votes = store.stats()["votes"]
        assert told["watermark"] == store.watermark()
    code, _, err = rlhf("votes", "backup", "kept.zip")
    assert code == 1 and "kept.zip: exists already" in err and "Traceback" not in err

    # The other machine has the code, the dialogues and the backup, and nothing of the first one.
    shutil.rmtree("runs")
    away = tmp_path / "away"
    away.mkdir()
    for name in ("dialogues.jsonl", "taste.py", "loop.yaml", "kept.zip"):
        shutil.move(workspace / name, away / name)
    monkeypatch.chdir(away)
    code, out, _ = rlhf("votes", "restore", "kept.zip")
    assert code == 0 and outcome.champion in out and "no key" not in out
    code, _, err = rlhf("votes", "restore", "kept.zip")
    assert code == 1 and "exists already" in err

    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n\n"))
    code, out, _ = rlhf("chat", "loop.yaml")
    assert code == 0 and out.count("you:") == 2
    # Cycles are counted in the runs folder, which stayed behind: this loop has a name of its own.
    (next_one,) = run_loop(config(name="away", gate=LENIENT, stages=ONE_STAGE), away)
    with Store.open("runs/feedback.db") as store:
        now = champion(store, "default")
        assert now is not None and next_one.candidate == now.id != outcome.champion
        assert store.policy(now.id).parent == outcome.champion
        assert sum(store.stats()["votes"].values()) > sum(votes.values())


def test_pruning_keeps_what_releases_stand_on(config: Any, workspace: Path, rlhf: Call) -> None:
    (first,) = run_loop(config(gate=LENIENT, stages=ONE_STAGE), workspace)
    frozen = config(gate=LENIENT, stages=ONE_STAGE, frozen=True)
    (refused,) = run_loop(frozen, workspace, cycles=2)
    runs = workspace / "runs"
    with Store.open("runs/feedback.db") as store:
        lost = store.policy(refused.candidate)
        kept = [store.policy(release.policy) for release in store.releases()]
    assert not refused.promoted and lost.run and lost.snapshot

    before = names(runs) | names(runs / "snapshots")
    code, out, _ = rlhf("runs", "prune", "--last", "0", "--dry-run", "--json")
    would = json.loads(out)
    goes = {Path(row["path"]).name for row in would["folders"] if row["kept"] is None}
    assert code == 0 and lost.run in goes and lost.snapshot in goes
    assert names(runs) | names(runs / "snapshots") == before
    code, out, _ = rlhf("runs", "prune", "--last", "50", "--dry-run", "--json")
    assert json.loads(out)["bytes"] == 0

    (runs / "mine").mkdir()
    (runs / "unfinished-20260101T000000Z-0123456789ab").mkdir()
    killed = runs / "snapshots" / f".building.{'0' * 32}"
    killed.mkdir()
    held = sum(f.stat().st_size for name in goes for f in runs.rglob(f"{name}/**/*") if f.is_file())
    assert would["bytes"] == held > 10_000
    with trainer_lock(runs):
        code, _, err = rlhf("runs", "prune", "--last", "0")
    assert code == 1 and "another trainer" in err and lost.run in names(runs)

    code, out, _ = rlhf("runs", "prune", "--last", "0")
    assert code == 0 and f"{len(goes) + 1} of " in out and f"{held:,} bytes" in out
    assert not killed.exists()
    left = names(runs) | names(runs / "snapshots")
    assert before - left == goes and {"mine", "feedback.db"} <= left
    assert "unfinished-20260101T000000Z-0123456789ab" in left
    for policy in kept:
        assert rlhf("release", "show", policy.id)[0] == 0
    assert {p.snapshot for p in kept if p.snapshot} <= left
    assert rlhf("release", "rollback")[0] == 0
    with Store.open("runs/feedback.db") as store:
        for outcome in (first, refused):  # what went can still be told of
            record = ancestry(store, outcome.candidate)[0]
            assert store.snapshot(str(record.snapshot)).counts["interactions"]


def test_expiry_is_told_and_done(config: Any, workspace: Path, rlhf: Call) -> None:
    run_loop(config(frozen=True, stages=ONE_STAGE), workspace)
    (workspace / "keep.yaml").write_text(
        "simulated: {interactions_days: 0.0000001}\nprojects: {clinic: {}}\n"
    )
    code, out, err = rlhf("votes", "expire", "keep.yaml", "--dry-run", "--json")
    would = json.loads(out)["gone"]["default"]
    assert code == 0 and would["interactions"] > 0 and "no project clinic" in err
    code, out, _ = rlhf("votes", "expire", "keep.yaml")
    assert code == 0 and f"{would['interactions']} interactions" in out and "gone" in out
    assert json.loads(rlhf("votes", "stats", "--json")[1])["interactions"] == 0
    (workspace / "keep.yaml").write_text("peple: {interactions_days: 3}\n")
    code, _, err = rlhf("votes", "expire", "keep.yaml")
    assert code == 2 and "did you mean `people`" in err


def test_stats_tell_what_is_needed_and_draw_it(config: Any, workspace: Path, rlhf: Call) -> None:
    run_loop(config(frozen=True, stages=ONE_STAGE), workspace)
    with Store.open("runs/feedback.db") as store:
        totals = store.stats()
        (built,) = store.snapshots()
        voted = set(store.voted_conversations())
        store.append(
            interactions=[
                Interaction(
                    id=f"new-{n}",
                    messages=(Message(role="user", content="问"),),
                    response="好的",
                    intent="退款",
                )
                for n in range(3)
            ],
            feedback=[
                Feedback(interaction=f"new-{n}", voter="ann", kind="thumb", value=1.0)
                for n in range(3)
            ],
        )
    code, out, _ = rlhf("votes", "stats", "--config", "loop.yaml", "--html", "v.html", "--json")
    told = json.loads(out)
    assert code == 0 and told["real"] == 3 and told["up"] == totals["up"] + 3
    assert told["watermark"] > built.watermark
    assert told["update"] == {"have": 3, "needed": 10, "votes": 7}
    held_out = sum(is_held_out(id, 0.3) for id in {*voted, "new-0", "new-1", "new-2"})
    needed = prompts_to_win(0.1, power_for_each(0.8, 0))
    more = math.ceil((needed - held_out) / 0.3)
    assert told["gate"] == {"have": held_out, "needed": needed, "votes": more}
    asked = told["groups"]["intent"]["退款"]
    assert (asked["up"], asked["rate"], asked["high"]) == (3, 1.0, 1.0) and 0.1 < asked["low"] < 0.9
    assert told["groups"]["language"]["zh"]["up"] >= 3
    assert set(told["groups"]) == {"policy", "style", "intent", "language"}
    page = (workspace / "v.html").read_text(encoding="utf-8")
    assert page.count("<svg") > 8 and "3 of 10 new votes" in page and "<script" not in page
    code, out, _ = rlhf("votes", "stats", "--power", "0.9")
    assert code == 0 and "3 of 50" in out and "90% power" in out and "zh" in out
    code, _, err = rlhf("votes", "stats", "--power", "7")
    assert code == 2 and "`power`" in err


def test_stats_tell_how_far_a_projects_voters_are_believed(
    tmp_path: Path, rlhf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open("s.db") as store:
        messages = (Message(role="user", content="hello"),)
        asked = [
            Interaction(id=f"i{n}", messages=messages, response=f"reply {n}") for n in range(30)
        ]
        votes = [
            Feedback(interaction=f"i{n}", voter=who, kind="thumb", value=1.0 if n % 2 else -1.0)
            for n in range(30)
            for who in ("ann", "bob", "cy")
        ]
        votes += [
            Feedback(interaction=f"i{n}", voter="odd", kind="thumb", value=-1.0 if n % 2 else 1.0)
            for n in range(30)
        ]
        store.append(interactions=asked, feedback=votes)
    code, out, _ = rlhf("votes", "stats", "--store", "s.db", "--project", "default", "--json")
    trust = json.loads(out)["trust"]
    assert code == 0 and trust["judged"] == 1
    code, out, _ = rlhf("votes", "stats", "--store", "s.db", "--json")
    assert code == 0 and json.loads(out)["trust"] is None
