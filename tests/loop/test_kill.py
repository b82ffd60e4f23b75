"""`kill -9` at every step boundary and at random instants: the same champion comes out."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from feedback_store import Store

STEPS = ["sft", "collect", "snapshot", "dpo", "kto", "evaluate", "gate", "release", "report"]
LENIENT = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rlhf.cli", "loop", "loop.yaml", "--cycles", "2"]
    names = [f"runs={folder}/runs", f"store={folder}/feedback.db"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command + names,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def run_until(folder: Path, line: str) -> list[str]:
    """Run until a line is printed, then kill at once; all that was printed."""
    process = start(folder)
    assert process.stdout is not None
    told = []
    for printed in process.stdout:
        told.append(printed.rstrip())
        if printed.startswith(line):
            kill(process)
            return told
    raise AssertionError(f"{line!r} never came: {told}")


def run_for(folder: Path, seconds: float) -> bool:
    """Run for a while, then kill; False when the loop ended before."""
    process = start(folder)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        return True
    assert process.returncode == 0
    return False


def finish(folder: Path) -> str:
    """Run to the end; the hash of the champion's files."""
    process = start(folder)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return champion_bytes(folder)


def champion_bytes(folder: Path) -> str:
    with Store.open(folder / "feedback.db") as store:
        champion = store.champion()
        assert champion is not None
        assert [r.action for r in store.releases()] == ["promote"] * 3
    digest = hashlib.sha256(champion.id.encode())
    for path in sorted(Path(champion.path).glob("adapter_*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture
def undisturbed(config: Any, workspace: Path) -> tuple[str, float]:
    """The champion's bytes of a run that nobody killed, and how long it took.

    Stages run for three epochs with a checkpoint at every second step, so that kills fall between
    checkpoints and inside epochs.
    """
    values = config().model_dump(mode="json")
    stages = [{**stage, "epochs": 3, "eval_steps": 2} for stage in values["stages"]]
    sft = {**values["sft"], "epochs": 3, "eval_steps": 2}
    evaluation = values["evaluation"]
    evaluation["judge"]["margin"] = 10.0  # every verdict a tie: what matters here is the bytes
    config(gate=LENIENT, sft=sft, stages=stages, evaluation=evaluation)
    began = time.monotonic()
    return finish(workspace / "undisturbed"), time.monotonic() - began


def test_killed_at_every_step_boundary(undisturbed: tuple[str, float], workspace: Path) -> None:
    folder = workspace / "cut"
    last = None
    for step in [*STEPS, *STEPS[1:]]:  # SFT happens once; all else in both cycles
        told = run_until(folder, f"done {step}: ")
        if last in ("snapshot", "dpo", "kto", "evaluate"):  # what was finished is not done again
            assert any(line.startswith(f"kept {last}: ") for line in told), (last, told)
        last = step
    assert finish(folder) == undisturbed[0]
    print(f"killed at {2 * len(STEPS) - 1} boundaries")


def test_killed_at_thirty_random_instants(undisturbed: tuple[str, float], workspace: Path) -> None:
    expected, seconds = undisturbed
    rng = random.Random(20261123)
    killed = loops = 0
    while killed < 30:
        folder = workspace / f"cut-{loops}"
        while killed < 30 and run_for(folder, rng.uniform(0.3, 1.0) * seconds):
            killed += 1
        assert finish(folder) == expected
        loops += 1
    print(f"killed {killed} times in {loops} loops of {seconds:.1f} s")
