"""The training benchmarks on a tiny model: their children run, and do the same work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import curves, dpo, kto, ppo_ours, reward_model, rewards, sft, snapshot
from bench.compare import Bench
from bench.compare import main as run
from bench.curves import Point
from bench.mixes import pairs
from bench.peers.environment import REQUIREMENTS
from bench.peers.job import PpoJob, read_job
from bench.ppo_jobs import PROMPT_TOKENS, make_job
from rewards import count_tokens

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

TINY = ["--cases", "headline", "--rows", "4", "--dtype", "float32"]
KEYS = {"case", "metric", "unit", "ours", "peer", "peer_name", "ratio", "better"}


def results(bench: Bench, model: Path) -> list[dict[str, object]]:
    """Ends with an error when the losses or gradients of two sides differ."""
    run(bench, [*TINY, "--model", str(model)])
    written: list[dict[str, object]] = json.loads(Path(f"runs/bench/{bench.name}.json").read_text())
    return written


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_dpo_does_the_work_of_its_peers(tiny_model: Path) -> None:
    written = results(dpo.BENCH, tiny_model)
    assert [(row["case"], row["metric"]) for row in written[:2]] == [
        ("headline", "speed"),
        ("headline", "memory"),
    ]
    assert all(set(row) == KEYS and row["peer_name"].startswith("TRL") for row in written)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("bench", [sft.BENCH, kto.BENCH, reward_model.BENCH], ids=lambda b: b.name)
def test_the_others_do_the_work_of_their_peers(bench: Bench, tiny_model: Path) -> None:
    assert results(bench, tiny_model)[0]["ours"]


def test_fewer_rows_are_the_first_of_more() -> None:
    assert pairs("short", 3) == pairs("short", 5)[:3]


@pytest.fixture(scope="module")
def job(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> PpoJob:
    return make_job(str(tiny_model), tmp_path_factory.mktemp("ppo") / "headline", updates=2)


def test_a_ppo_job_asks_each_side_the_same(job: PpoJob, tmp_path: Path) -> None:
    assert read_job(job.write(tmp_path / "job.json")) == job
    assert len(set(job.prompts)) == 2 * job.batch
    low, high = PROMPT_TOKENS
    assert {low, high} <= {len(ids) for ids in job.prompt_ids} <= set(range(low, high + 1))
    config = json.loads((Path(str(job.reward.merged)) / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]


def test_our_side_draws_whole_answers_and_learns_from_all(job: PpoJob) -> None:
    found = ppo_ours.train(replace(job, new_tokens=4))
    assert found.episodes == 2 * job.batch
    assert [point["episodes"] for point in found.curve] == [job.batch, 2 * job.batch]
    assert found.curve[0]["kl"] == pytest.approx(0, abs=0.1)


def test_reward_is_read_off_where_the_kl_first_gets() -> None:
    rows = [{"reward": r, "kl": k} for r, k in ((0, 0), (0, 0), (4, 4), (4, 4), (8, 4), (0, 8))]
    run = curves.smoothed(rows)
    assert run == [Point(2, 2), Point(4, 3), Point(4, 5)]
    assert curves.reward_at(run, 2.5) == 3
    assert curves.levels([run, run[:2]]) == [2.25, 2.5, 2.75, 3]
    with pytest.raises(SystemExit, match="train for more batches"):
        curves.levels([run[:1], run[2:]])


def test_the_peer_is_pinned_whole() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line[0] != "#"]
    assert "trl==0.24.0" in lines and all("==" in line for line in lines)


@pytest.mark.usefixtures("here")
def test_rewards_are_timed_on_answers_of_their_length() -> None:
    rewards.main(["--batches", "2", "--cases", "ppo_batch"])
    (row,) = json.loads(Path("runs/bench/rewards.json").read_text())
    assert set(row) == KEYS and row["unit"] == "answers/s" and row["ours"] > 0
    texts = rewards.answers(30, seed=1)
    drawn = [next(texts) for _ in range(100)]
    assert 29 < sum(map(count_tokens, drawn)) / 100 < 35 and len(set(drawn)) > 90


@pytest.mark.usefixtures("here")
def test_a_snapshot_is_timed_in_a_process_of_its_own() -> None:
    snapshot.main(["--votes", "100", "--interactions", "31", "--cases", "headline"])
    speed, memory = json.loads(Path("runs/bench/snapshot.json").read_text())
    assert set(speed) == KEYS and (speed["case"], speed["unit"]) == ("headline", "s")
    assert memory["unit"] == "GB" and memory["ours"] < 0.25  # this process, with torch, has more
