"""What is trained after an erasure is what would have been trained had the person never come."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from feedback_store import (
    Comparison,
    Feedback,
    Interaction,
    Message,
    SnapshotRules,
    Store,
    build_snapshot,
)
from feedback_store.trust.rules import TrustRules
from rlhf.erase import Scope, erase
from rlhf.lineage import read_ledger
from rlhf.release import find
from rlhf.train import parse_train_config, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]


def fill(store: Store, person: bool) -> None:
    """Choices between two answers by others and, between them, a person's own and on their own."""
    for n in range(24):
        for who in ("other", "pat") if person else ("other",):
            asked = (Message(role="user", content=f"{who} asks about {n}"),)
            pair = [
                Interaction(id=f"{who}{n}{slot}", conversation=f"{who}{n}", messages=asked,
                            response=f"{slot} says {n} of {n + 1}", user=who)
                for slot in "ab"
            ]  # fmt: skip
            choice = Comparison(a=pair[0].id, b=pair[1].id, voter=f"v{n}", choice="ab"[n % 2])
            store.append(interactions=pair, comparisons=[choice])
        if person:
            against = Comparison(a=f"other{n}a", b=f"other{n}b", voter="pat", choice="b")
            word = Feedback(interaction=f"other{n}a", voter="pat", kind="thumb", value=-1.0)
            store.append(feedback=[word][: n % 3 == 0], comparisons=[against])


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_the_rebuild_is_that_of_one_who_never_saw_the_person(
    stage: str, tiny_model: Path, tmp_path: Path
) -> None:
    def trained(name: str, folder: Path, **more: Any) -> str:
        values = {
            "stage": stage,
            "base_model": str(tiny_model),
            "dtype": "float32",
            "learning_rate": 1e-2,
            "tracking": "none",
            "data": {"path": str(folder)},
            "runs": str(tmp_path / name / "runs"),
            "store": str(tmp_path / name / "feedback.db"),
        }
        return str(train(parse_train_config(values, "x.yaml"), tmp_path).policy.id)

    rules = SnapshotRules(held_out=0.2, trust=TrustRules(enabled=False))
    folders = {}
    for name in ("known", "never"):
        with Store.open(tmp_path / name / "feedback.db") as store:
            fill(store, person=name == "known")
            if stage == "kto":
                others = [f"other{n}{s}" for n in range(24) for s in "ab"]
                store.append(
                    feedback=[
                        Feedback(interaction=id, voter="v", kind="thumb", value=1.0 - 2 * (i % 2))
                        for i, id in enumerate(others)
                    ]
                )
            folder = tmp_path / name / "runs" / "snapshots"
            folders[name] = folder / build_snapshot(store, folder, rules).id
    saw = trained("known", folders["known"])
    never = trained("never", folders["never"])
    assert saw != never
    with Store.open(tmp_path / "known" / "feedback.db") as store:
        runs = tmp_path / "known" / "runs"
        report = erase(Scope(store, runs), store.person(user="pat", voter="pat"))
        (tainted,) = report.tainted
        assert tainted["policy"] == saw
        (new,) = report.snapshots.values()
    again = trained("known", tmp_path / "known" / "runs" / "snapshots" / str(new))
    assert again == never
    # The command that was listed does the same.
    words = shlex.split(tainted["rebuild"])
    assert words[:2] == ["rlhf", "train"] and f"data.path={runs}/snapshots/{new}" in words
    with Store.open(tmp_path / "known" / "feedback.db") as store:
        ledger = read_ledger(store, runs)
        assert set(ledger.taints) == {saw} and find(store, again).id == never


def test_a_loops_rebuild_command_gives_an_untainted_policy(
    config: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import sys

    from rlhf import cli
    from rlhf.rounds import run_loop

    settings = config(gate={"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}})
    run_loop(settings, workspace)
    with Store.open(settings.store) as store:
        voter = next(iter(store.comparisons())).voter
        report = erase(Scope(store, settings.runs), store.person(voter=voter))
    assert report.tainted and report.releases
    _, line = report.tainted[-1]["rebuild"].split(" && ")
    monkeypatch.setattr(sys, "argv", [*shlex.split(line), "--json"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code in (0, None)
    (outcome,) = json.loads(capsys.readouterr().out)
    with Store.open(settings.store) as store:
        ledger = read_ledger(store, settings.runs)
        assert outcome["candidate"] in ledger.made and outcome["candidate"] not in ledger.taints
