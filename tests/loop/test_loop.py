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
from rlhf.lineage import ancestry
from rlhf.release import champion, promote, rollback
from rlhf.rounds import run_loop
from rlhf.runs import open_run, trainer_lock
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
    assert [r.reason for r in releases[1:]] == [
        f"tiny, cycle {o.cycle}: the gate passed" for o in outcomes if o.promoted
    ]


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


def test_a_frozen_project_is_released_after_its_thaw(
    config: Any, workspace: Path, rlhf: Any, hook: str
) -> None:
    lenient = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}}
    settings = config(gate=lenient, webhook=hook)
    with Store.open(settings.store) as store:
        first_champion = run_loop(config(frozen=True), workspace)[0].champion
        store.freeze("default", "exam week")
        outcome = run_loop(settings, workspace, cycles=2)[0]
        told = "frozen: not released (exam week)"
        assert not outcome.promoted and outcome.withheld == told
        assert store.champion().id == outcome.champion == first_champion
        assert store.last_decisions("default")[outcome.candidate].promote
    assert told in outcome.report.read_text(encoding="utf-8")
    facts = Journal(folder_of(settings), 2).facts()
    assert (facts["done"], facts["promoted"], facts["withheld"]) == (True, False, told)
    assert _Hook.told[-1]["event"] == "refusal" and _Hook.told[-1]["reasons"][-1] == told

    code, _, err = rlhf("release", "promote", outcome.candidate)
    assert code == 1 and len(err.splitlines()) == 1 and "frozen (exam week)" in err
    assert json.loads(rlhf("release", "list", "--json")[1])["frozen"]["reason"] == "exam week"
    assert "exam week" in rlhf("release", "list")[1]
    assert rlhf("release", "thaw", "--reason", "over")[0] == 0
    assert rlhf("release", "promote", outcome.candidate)[0] == 0
    assert rlhf("release", "freeze", "--reason", "again", "--json")[0] == 0
    assert rlhf("release", "rollback")[0] == 0
    with Store.open(settings.store) as store:
        assert store.champion().id == first_champion


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


def test_votes_that_do_not_suffice_leave_the_cycle_open_for_newer_ones(
    config: Any, workspace: Path
) -> None:
    stages = [{"stage": "dpo", "learning_rate": 1e-2, "tracking": "none"}]
    lonely = config().model_dump(mode="json")["simulate"] | {"comparisons": 0.0}
    with pytest.raises(StepFailed, match="dpo: needs pairs"):
        run_loop(config(simulate=lonely, stages=stages), workspace)
    settings = config(simulate=None, stages=stages, min_votes=1)
    with Store.open(settings.store) as store:
        asked: dict[Any, list[str]] = {}
        for answer in list(store.interactions()):
            again = answer.model_copy(
                update={"id": f"{answer.id}x", "response": answer.response + "!", "seq": None}
            )
            store.append(interactions=[again])
            asked[answer.id] = [answer.id, again.id]
        pairs = [Comparison(a=a, b=b, voter="ann", choice="a") for a, b in asked.values()]
        store.append(comparisons=pairs)
        mark = store.watermark()
    (outcome,) = run_loop(settings, workspace)
    assert outcome.cycle == 1
    assert Journal(folder_of(settings), 1).facts()["watermark"] == mark


def test_watching_learns_as_soon_as_people_voted_enough(config: Any, workspace: Path) -> None:
    run_loop(config(), workspace)
    settings = config(simulate=None, min_votes=4, watch_poll_s=0.05)
    assert Journal(folder_of(settings), 1).done

    def people() -> None:
        with Store.open(settings.store) as store:
            answers = [i.id for i in store.interactions()][:4]
            for n, id in enumerate(answers):
                value = 5.0 if n % 2 else 1.0
                vote = Feedback(interaction=id, voter=f"p{n}", kind="rating", value=value)
                store.append(feedback=[vote])

    threading.Timer(0.3, people).start()
    (outcome,) = run_loop(settings, workspace, cycles=2, watch=True)
    assert outcome.cycle == 2
    with Store.open(settings.store) as store:
        assert Journal(folder_of(settings), 2).facts()["watermark"] == store.watermark()


def test_watching_a_new_project_trains_a_first_policy_before_it_waits(
    config: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rlhf.rounds

    settings = config(simulate=None)

    class Waiting(BaseException):
        pass

    def wait(config: Any, store: Store, journal: Journal) -> None:
        assert champion(store, "default") is not None
        with trainer_lock(settings.runs):  # nobody holds it while waiting
            raise Waiting

    monkeypatch.setattr(rlhf.rounds, "wait_for_votes", wait)
    with pytest.raises(Waiting):
        run_loop(settings, workspace, watch=True)


def test_a_champion_changed_by_hand_is_not_overwritten(
    config: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rlhf.loop

    (first,) = run_loop(config(frozen=True), workspace)
    lenient = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}}
    gate = rlhf.loop._gate

    def meanwhile(cycle: Any, *rest: Any) -> Any:
        promote(cycle.store, first.candidate, "by hand", "default")
        return gate(cycle, *rest)

    monkeypatch.setattr(rlhf.loop, "_gate", meanwhile)
    (second,) = run_loop(config(gate=lenient), workspace, cycles=2)
    assert not second.promoted and second.champion == first.candidate
    with Store.open(config().store) as store:
        assert store.releases("default")[-1].reason == "by hand"
    assert Journal(folder_of(config()), 2).done


def test_another_base_model_is_refused(config: Any, workspace: Path, tiny_model: Path) -> None:
    run_loop(config(frozen=True), workspace)
    other = workspace / "other-base"
    other.symlink_to(tiny_model)
    with pytest.raises(PolicyError, match=r"was trained on .* and `base_model` is"):
        run_loop(config(base_model=str(other)), workspace, cycles=2)


def test_no_prompt_that_the_gate_asks_is_ever_trained_on(config: Any, workspace: Path) -> None:
    settings = config(frozen=True, snapshot={"salt": "another"})
    (outcome,) = run_loop(settings, workspace)
    asked = {
        json.loads(line)["messages"][-1]["content"]
        for line in (outcome.report.parent / "samples.jsonl").read_text().splitlines()
    }
    assert len(asked) > 5
    (snapshot,) = (settings.runs / "snapshots").iterdir()
    for name in ("dpo.jsonl", "kto.jsonl", "sft.jsonl"):
        rows = [json.loads(line) for line in (snapshot / name).read_text().splitlines()]
        assert asked.isdisjoint(row["prompt"][-1]["content"] for row in rows)


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
