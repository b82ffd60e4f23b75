"""Learning is real: people's taste moves the policy, and votes without a taste do not."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from feedback_store import Store
from rlhf.commands.contest import contest_of
from rlhf.evaluation.trial import run_trial
from rlhf.rounds import run_loop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]

ROOT = Path(__file__).parent.parent.parent


def test_the_demos_champion_beats_the_sft_policy(here: Path) -> None:
    """The quickstart's two cycles on the real model, judged by the stand-in users' own taste."""
    quickstart = str(ROOT / "configs" / "quickstart.yaml")
    overrides = [f"runs={here}/runs", f"store={here}/feedback.db"]
    command = [sys.executable, "-m", "rlhf.cli", "loop", quickstart, "--cycles", "2", *overrides]
    subprocess.run(command, check=True, timeout=3600)
    overrides += ["evaluation.prompts=null", "evaluation.seed=11"]
    with contest_of(Path(quickstart), overrides, None, None) as (settings, contest):
        assert contest.champion.manifest["parent"] is None
        assert contest.candidate.id != contest.champion.id
        trial = run_trial(settings.runs, settings.evaluation, contest)
    print(f"champion against the SFT policy: {trial.headline()}")
    win = trial.measurements.win_rate()
    assert win is not None and win.low > 0.5


def loops_on(config: Any, workspace: Path, count: int, noise: float) -> tuple[int, int]:
    """So many loops, each with its own users: how many promoted, how many agreed with voters."""
    promoted = agreed = 0
    told = []
    for seed in range(count):
        simulate = config().model_dump(mode="json")["simulate"]
        settings = config(
            runs=f"runs-{seed}",
            store=f"store-{seed}.db",
            simulate={**simulate, "noise": noise, "seed": random.Random(seed).getrandbits(30)},
            gate={"zero_tolerance": [], "min_prompts": 5, "agreement": {"confidence": 0.8}},
        )
        (outcome,) = run_loop(settings, workspace)
        with Store.open(settings.store) as store:
            report = store.decisions()[0].report
        failed = [r["check"] for r in report["reasons"] if not r["passed"]]
        promoted += outcome.promoted
        agreed += "agreement" not in failed
        told.append((round(report["win"]["rate"], 2), failed))
    print(f"noise {noise}: {promoted} promoted, {agreed} agreed, of {count}; {told}")
    return promoted, agreed


def test_shuffled_votes_promote_at_most_once_in_twenty_loops(config: Any, workspace: Path) -> None:
    """Every vote goes to a coin instead of the taste; the judge keeps the taste."""
    assert loops_on(config, workspace, 20, noise=0.5)[0] <= 1


def test_true_votes_pass_the_condition_that_shuffled_ones_fail(
    config: Any, workspace: Path
) -> None:
    """Or else a gate that refuses everything would pass the test above."""
    promoted, agreed = loops_on(config, workspace, 8, noise=0.0)
    assert promoted >= 1 and agreed >= 6
