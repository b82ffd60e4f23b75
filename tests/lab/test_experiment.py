"""A grid on a tiny model: ordinary runs, measured alike, going on after a kill.

Run as a program, this file is an experiment that is killed: `python THIS GRID`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from letters import LETTERS, REWARDS, save_model

import rlhf.lab.experiment as lab
from rlhf.config import load, validate
from rlhf.lab.grid import ExperimentConfig, variants
from rlhf.lab.preview import PreviewConfig

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

A = [{"name": f"{REWARDS}:share_of_a"}]
QUIET = ("kl", "entropy", "length", "shortness", "unfinished", "domination", "constant", "held_out")


def grid_of(folder: Path, model: str) -> Path:
    rows = [{"prompt": LETTERS[n % 8] * (1 + n // 8)} for n in range(24)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = {
        "base_model": model,
        "dtype": "float32",
        "data": {"path": "prompts.jsonl", "held_out": 0.3},
        "runs": str(folder / "runs"),
        "updates": 12,
        "prompts": 8,
        "samples": 4,
        "sampling": {"max_new_tokens": 6},
        "learning_rate": 2e-2,
        "alarms": dict.fromkeys(QUIET),
        "tracking": "none",
    }
    grid = {
        "name": "letters",
        "yardstick": "a",
        "mixes": {
            "a": A,
            "not a": [{"name": f"{REWARDS}:share_of_a", "weight": -1.0}],
        },
        "measures": [{"name": f"{REWARDS}:how_long"}],
        "algorithms": {"rloo": {"stage": "rloo"}},
        "guardrails": [{"metric": "reward/share_of_a", "margin": 0.01}],
        "train": train,
    }
    path = folder / "grid.yaml"
    path.write_text(json.dumps(grid))
    return path


def cut_short(grid: Path, end: Callable[[], object]) -> None:
    """An experiment until its second training, in which it ends."""
    own, calls = lab.train, 0

    def deadly(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return end() if calls == 2 else own(*arguments)

    settings = validate(ExperimentConfig, load(grid), str(grid))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab, "train", deadly)
        lab.run_experiment(settings, grid.parent, str(grid))


def interrupted(grid: Path) -> None:
    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_short(grid, end)


def killed(grid: Path) -> None:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(map(str, (root, root / "tests")))
    command, environment = [sys.executable, __file__, str(grid)], {**os.environ, "PYTHONPATH": path}
    cut = subprocess.run(command, env=environment, capture_output=True, timeout=240)
    assert cut.returncode == -signal.SIGKILL, cut.stderr.decode()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("letters")).base_model


@pytest.mark.parametrize("cut", [interrupted, pytest.param(killed, marks=pytest.mark.slow)])
def test_goes_on_where_it_was_cut_short(
    cut: Callable[[Path], None],
    model: str,
    tmp_path: Path,
    rlhf: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grid = grid_of(tmp_path, model)
    cut(grid)
    (first,) = (tmp_path / "runs").glob("rloo-*")
    trained: list[str] = []
    own = lab.train
    monkeypatch.setattr(
        lab, "train", lambda c, *rest: trained.append(str(c.rewards[0].weight)) or own(c, *rest)
    )
    before = {"mixes": {n: {"curve": [{"changes": {"yardstick": {"mean": m}}}]}
                        for n, m in (("a", 0.2), ("not a", -0.1))}}  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(before))
    code, out, err = rlhf(
        "rewards", "experiment", str(grid), "--preview", str(tmp_path / "p.json"), "--json"
    )
    assert code == 0, err
    assert trained == ["-1.0"]  # what was trained and measured before the kill is kept
    told = json.loads(out)
    assert first.name in {Path(v["run"]).name for v in told["variants"]}
    assert (first / "report.html").exists() and (first / "adapter" / "policy.json").exists()
    by_name = {v["mix"]: v for v in told["variants"]}
    gain = {mix: v["gains"]["yardstick"]["mean"] for mix, v in by_name.items()}
    assert gain["a"] > 0.1 > 0 >= gain["not a"]
    assert told["foretold"]["tau"] == 1.0 and told["episodes"] == 12 * 32
    assert by_name["not a"]["gains"]["total"]["mean"] == pytest.approx(-gain["not a"])
    assert "reward/how_long" in by_name["a"]["gains"] and by_name["a"]["kl"]["mean"] > 0.05
    assert by_name["a"]["guardrails"] == {"reward/share_of_a": "kept"}
    assert told["front"][-1] == by_name["a"]["name"]
    page = Path(told["report"]).read_text()
    assert "<svg" in page and "<script" not in page and "not a" in page
    code, out, _ = rlhf("rewards", "experiment", str(grid), "yardstick=not a")
    assert code == 0 and len(trained) == 1 and out.startswith("+")


def test_a_stopped_variant_is_told_and_the_others_go_on(
    model: str, tmp_path: Path, rlhf: Callable[..., tuple[int, str, str]]
) -> None:
    grid = grid_of(tmp_path, model)
    hasty = {"stage": "rloo", "alarms": {**dict.fromkeys(QUIET), "kl": 0.001}}
    algorithms = json.dumps({"rloo": {"stage": "rloo"}, "hasty": hasty})
    changed = ("train.updates=6", f"algorithms={algorithms}", f"mixes={json.dumps({'a': A})}")
    code, out, err = rlhf("rewards", "experiment", str(grid), *changed, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert [v["name"] for v in told["variants"]] == ["a · rloo · seed 42"]
    assert "alarm in round" in told["stopped"]["a · hasty · seed 42"]


def test_mistakes_are_told_before_anything_runs(
    tmp_path: Path, rlhf: Callable[..., tuple[int, str, str]]
) -> None:
    grid = str(grid_of(tmp_path, "nowhere"))
    for override, wanted in {
        "algorithms={p: {stage: ppo}, r: {stage: rloo, updates: 3}}": "another budget",
        "algorithms={s: {stage: sft}}": "reinforce++; found 'sft'",
        "train.rewards=[]": "`train.rewards` is what `mixes` vary",
        "algorithms.rloo.learning_rat=1": "did you mean `learning_rate`?",
        "yardstick=b": "no mix 'b'; known: a, not a",
    }.items():
        code, _, err = rlhf("rewards", "experiment", grid, override)
        assert code == 2 and wanted in err, err
    code, _, err = rlhf("rewards", "experiment", grid, "--preview", grid)
    assert code == 2 and "is not the JSON of `rlhf rewards preview`" in err
    assert not (tmp_path / "runs").exists()


def test_the_examples_speak_of_the_same_mixes() -> None:
    """Or the one could not foretell the other."""
    configs = Path(__file__).parents[2] / "configs"
    grid = validate(ExperimentConfig, load(configs / "experiment.yaml"), "experiment")
    before = validate(PreviewConfig, load(configs / "preview.yaml"), "preview")
    assert (before.mixes, before.yardstick) == (grid.mixes, grid.yardstick)
    for cell in variants(grid, "experiment"):
        assert (cell.config.data, cell.config.sampling) == (before.data, before.sampling)
        assert cell.config.base_model == before.base_model


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    cut_short(Path(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL))
