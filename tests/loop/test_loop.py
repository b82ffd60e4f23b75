"""Whole cycles on the tiny model, in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from filelock import FileLock

from feedback_store import Comparison, Feedback, Store
from rlhf.errors import PolicyError, StepFailed
from rlhf.journal import Journal
from rlhf.loop import run_loop
from rlhf.release import ancestry, champion, promote, rollback
from rlhf.runs import open_run
from rlhf.watch import votes_missing, wait_for_votes

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def folder_of(config: Any) -> Path:
    named = {"project": config.project, "name": config.name}
    return open_run(config.runs, "loop", named, {}).folder


def test_two_cycles_make_a_line_from_the_base_to_the_candidate(
    config: Any, workspace: Path
) -> None:
    settings = config(gate={"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}})
    outcomes = run_loop(settings, workspace, cycles=2)
    assert [o.cycle for o in outcomes] == [1, 2]
    with Store.open(settings.store) as store:
        releases = store.releases("default")
        assert releases[0].reason == "first policy: SFT on dialogues"
        current = champion(store, "default")
        assert current is not None and current.id == outcomes[1].champion
        line = [str(p.run).partition("-")[0] for p in ancestry(store, outcomes[1].candidate)]
        assert line[-1] == "sft" and set(line[:-1]) <= {"dpo", "kto"}
        decisions = {d.candidate: d for d in store.decisions()}
        assert all(o.candidate in decisions for o in outcomes)
        stats = store.stats("default")
        assert stats["real"] == 0 and stats["simulated"] > 20
    for outcome in outcomes:
        html = outcome.report.read_text(encoding="utf-8")
        assert "simulated" in html.lower() and outcome.candidate in html
        assert (outcome.report.parent / "decision.json").exists()
    assert run_loop(settings, workspace, cycles=2) == []


def test_a_promoted_champion_is_what_the_next_cycle_starts_from(
    config: Any, workspace: Path
) -> None:
    settings = config(gate={"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}})
    first, second = run_loop(settings, workspace, cycles=2)
    assert first.promoted
    with Store.open(settings.store) as store:
        kto, dpo = ancestry(store, second.candidate)[:2]
        assert dpo.parent == first.candidate and kto.parent == dpo.id
        answers = [i for i in store.interactions() if i.policy == first.candidate]
        assert answers and all(i.simulated for i in answers)


def test_frozen_trains_and_measures_but_promotes_nothing(config: Any, workspace: Path) -> None:
    lenient = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}}
    settings = config(frozen=True, gate=lenient)
    (outcome,) = run_loop(settings, workspace)
    assert not outcome.promoted
    assert all(line.startswith("passed") for line in outcome.reasons)
    with Store.open(settings.store) as store:
        assert len(store.releases("default")) == 1
        assert store.decisions()[0].promote


def test_rebuild_starts_from_the_base_with_the_snapshots_answers(
    config: Any, workspace: Path
) -> None:
    settings = config(start="rebuild", stages=[config().stages[0].model_dump()])
    (outcome,) = run_loop(settings, workspace)
    with Store.open(settings.store) as store:
        dpo, sft = ancestry(store, outcome.candidate)
        assert sft.parent is None and sft.snapshot == dpo.snapshot is not None


class _Hook(BaseHTTPRequestHandler):
    told: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.told.append(json.loads(self.rfile.read(size)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    _Hook.told = []
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()


def test_a_webhook_hears_of_refusal_and_failure(config: Any, workspace: Path, hook: str) -> None:
    strict = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.59}}
    settings = config(webhook=hook, gate=strict)
    run_loop(settings, workspace)
    told = _Hook.told[-1]
    assert told["event"] == "refusal" and told["cycle"] == 1 and told["reasons"]
    with pytest.raises(StepFailed):
        run_loop(config(webhook=hook, min_votes=10_000), workspace, cycles=2)
    assert _Hook.told[-1]["event"] == "failure"
    assert "more votes" in _Hook.told[-1]["reason"]


def test_one_trainer_at_a_time(config: Any, workspace: Path) -> None:
    settings = config()
    settings.runs.mkdir()
    with (
        FileLock(settings.runs / ".trainer.lock"),
        pytest.raises(StepFailed, match="another trainer works in runs"),
    ):
        run_loop(settings, workspace)


def test_too_few_votes_say_how_many_are_missing(config: Any, workspace: Path) -> None:
    settings = config(simulate=None)
    with pytest.raises(StepFailed, match="needs 10 more votes"):
        run_loop(settings, workspace)


def test_watch_waits_for_votes_and_counts_only_new_ones(config: Any, workspace: Path) -> None:
    settings = config(simulate=None, min_votes=3)
    run_loop(config(), workspace)  # a first cycle with simulated users, then people alone
    journal = Journal(folder_of(settings), 2)
    with Store.open(settings.store) as store:
        assert votes_missing(settings, store, journal) == 3
        answers = [i.id for i in store.interactions()]
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            n = len(slept)
            slept.append(seconds)
            vote = Feedback(interaction=answers[n], voter="anna", kind="rating", value=5.0)
            store.append(feedback=[vote])

        wait_for_votes(settings, store, journal, sleep)
        assert slept == [settings.watch_poll_s] * 3
        assert votes_missing(settings, store, journal) == 0


def test_watch_starts_after_its_interval_with_fewer_votes(config: Any, workspace: Path) -> None:
    run_loop(config(), workspace)
    settings = config(simulate=None, min_votes=30, watch_hours=2)
    hours = iter(range(100))
    with Store.open(settings.store) as store:
        a, b = [i.id for i in store.interactions()][:2]
        store.append(comparisons=[Comparison(a=a, b=b, voter="anna", choice="tie")])
        journal = Journal(folder_of(settings), 2)
        slept: list[float] = []
        wait_for_votes(settings, store, journal, slept.append, lambda: next(hours) * 3600.0)
        assert len(slept) == 1


def test_a_damaged_policy_is_never_promoted(config: Any, workspace: Path) -> None:
    settings = config(frozen=True)
    (outcome,) = run_loop(settings, workspace)
    with Store.open(settings.store) as store:
        weights = Path(store.policy(outcome.candidate).path) / "adapter_model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        with pytest.raises(PolicyError, match="is not the file that was saved"):
            promote(store, outcome.candidate, "by hand", "default")
        assert len(store.releases("default")) == 1


def test_rollback_goes_back_and_back_again(config: Any, workspace: Path) -> None:
    settings = config(frozen=True)
    (outcome,) = run_loop(settings, workspace)
    with Store.open(settings.store) as store:
        first = store.releases("default")[0].policy
        promote(store, outcome.candidate[:6], "by hand", "default")
        assert rollback(store, "worse", "default").policy == first
        release = rollback(store, "not worse", "default")
        assert (release.policy, release.previous) == (outcome.candidate, first)
        assert [r.action for r in store.releases("default")] == [
            "promote",
            "promote",
            "rollback",
            "rollback",
        ]
