"""The training benchmarks on a tiny model: their children run, and do the same work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import dpo, kto, reward_model, sft
from bench.compare import Bench
from bench.compare import main as run
from bench.mixes import pairs

TINY = ["--cases", "headline", "--rows", "4", "--dtype", "float32"]
KEYS = {"case", "metric", "unit", "ours", "peer", "peer_name", "ratio", "better"}


def results(bench: Bench, model: Path) -> list[dict[str, object]]:
    """Ends with an error when the losses or gradients of two sides differ."""
    run(bench, [*TINY, "--model", str(model)])
    written: list[dict[str, object]] = json.loads(Path(f"runs/bench/{bench.name}.json").read_text())
    return written


@pytest.mark.usefixtures("here")
def test_dpo_does_the_work_of_its_peers(tiny_model: Path) -> None:
    written = results(dpo.BENCH, tiny_model)
    assert [(row["case"], row["metric"]) for row in written] == [
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
