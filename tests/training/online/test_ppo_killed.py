"""`kill -9` in each phase of a round: the run that goes on learns what an undisturbed one learns.

Run as a program, this file is the run: `python THIS MODEL RUNS [PHASE ROUND]`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from letters import ppo, train

from rlhf.models import ModelSettings
from rlhf.training.online.settings import KlSettings, PpoSettings

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

# What is called in a phase, how often a round, and whether it is over when the kill comes.
PHASES = {
    "rollout": ("rlhf.sampling.LocalSampler.sample", 1, "before"),
    "reward": ("rlhf.training.ppo.score", 1, "after"),
    "update": ("rlhf.training.online.update._step", 4, "after"),
    "checkpoint, its policy": ("rlhf.training.online.run.save_policy", 0.5, "after"),
    "checkpoint, its tensors": ("rlhf.training.online.state.save_file", 0.5, "after"),
    "checkpoint, not yet named": ("rlhf.training.online.state.publish_folder", 0.5, "before"),
    "checkpoint, named": ("rlhf.training.online.state.publish_folder", 0.5, "after"),
    "policy saved, run not finished": ("rlhf.runs.Run.finish", 0, "before"),
}
ROUNDS = 6


def settings() -> PpoSettings:
    """Every second round is a checkpoint; the numbers that are carried along all move."""
    kl = KlSettings(coefficient=0.1, target=0.3, horizon=60)
    return ppo(updates=ROUNDS, epochs=2, minibatches=2, target_kl=None, kl=kl, save_every=2)


def kill_in(phase: str, call: int) -> None:
    """End this process at the `call`-th call of what the phase is about."""
    import importlib

    where, _, when = PHASES[phase]
    parts = where.split(".")
    holder: Any = importlib.import_module(".".join(parts[: -1 - (parts[-2][0].isupper())]))
    if parts[-2][0].isupper():
        holder = getattr(holder, parts[-2])
    own: Callable[..., Any] = getattr(holder, parts[-1])
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = own(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, parts[-1], deadly)


def main(model: str, runs: Path, *cut: str) -> None:
    """The run, to its end or to the kill; prints the policy's name, which is its bytes' hash."""
    warnings.simplefilter("ignore")
    if cut:
        kill_in(cut[0], int(cut[1]))
    _, policy = train(ModelSettings(base_model=model, dtype="float32"), runs, settings())
    print(policy.id)


def start(model: str, runs: Path, *cut: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(p) for p in (Path.cwd(), Path(__file__).parents[2]))
    command = [sys.executable, __file__, model, str(runs), *cut]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)


def calls_until_round_four(phase: str) -> int:
    """So that there is a checkpoint to go back to, and a round after it is lost."""
    a_round = PHASES[phase][1]
    if phase == "rollout":
        return 5  # one look at the held-out prompts, and four rounds
    return {0: 1, 0.5: 2, 1: 4, 4: 14}[a_round]


@pytest.mark.parametrize(
    "phase", [pytest.param(p, marks=() if p == "update" else pytest.mark.slow) for p in PHASES]
)
def test_goes_on_as_if_nothing_had_been(phase: str, letters: ModelSettings, tmp_path: Path) -> None:
    _, undisturbed = train(letters, tmp_path / "undisturbed", settings())
    cut = start(letters.base_model, tmp_path / "cut", phase, str(calls_until_round_four(phase)))
    assert cut.returncode == -signal.SIGKILL, cut.stderr
    resumed = start(letters.base_model, tmp_path / "cut")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.split()[-1] == undisturbed.id
    (run,) = (tmp_path / "cut").glob("ppo-*")
    assert not [p.name for p in run.iterdir() if p.name.startswith((".", "checkpoint"))]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
