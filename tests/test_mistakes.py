"""A user's mistake ends in one clear line and exit 1 or 2, with nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlhf import cli

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ROW = {"context": "User: tell me about tea", "response": "Assistant: tea is a drink."}
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rlhf(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in an empty folder; gives exit code, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlhf", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), told.out, told.err

    return call


def dialogues(path: Path, count: int = 40) -> Path:
    rows = [{**ROW, "context": f"User: tell me about tea {n}"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(tiny_model: Path, **values: Any) -> str:
    given: dict[str, Any] = {
        "stage": "sft",
        "base_model": str(tiny_model),
        "dtype": "float32",
        "data": {"path": "d.jsonl"},
        "tracking": "none",
        "epochs": 1,
        **values,
    }
    Path("c.yaml").write_text(yaml.safe_dump(given))
    return "c.yaml"


def loop_config(tiny_model: Path, **values: Any) -> str:
    given: dict[str, Any] = {
        "base_model": str(tiny_model),
        "dtype": "float32",
        "dialogues": ["d.jsonl"],
        "held_out": 0.4,
        "min_votes": 1,
        "sft": {"tracking": "none", "epochs": 1},
        "stages": [{"stage": "dpo", "tracking": "none"}],
        "simulate": {"taste": {"name": "length"}, "sampling": {"max_new_tokens": 4}},
        "evaluation": {"judge": {"kind": "reward", "rewards": [{"name": "length"}]}},
        **values,
    }
    Path("loop.yaml").write_text(yaml.safe_dump(given))
    return "loop.yaml"


def one_line(error: str) -> str:
    """The line that tells the mistake, which must be the last; no traceback anywhere."""
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if line.startswith("rlhf: ")]
    assert len(lines) == 1 and error.rstrip().endswith(lines[0])
    return lines[0]


def policies_in(runs: Path) -> list[Path]:
    return [*runs.rglob("adapter"), *runs.rglob(".policy-*"), *runs.rglob("*.tmp")]


def test_a_misspelt_key(rlhf: Call, tiny_model: Path) -> None:
    dialogues(Path("d.jsonl"))
    code, _, error = rlhf("train", config(tiny_model, lerning_rate=1e-3))
    assert code == 2
    line = one_line(error)
    assert "c.yaml: unknown key `lerning_rate`; did you mean `learning_rate`?" in line
    assert not Path("runs").exists()


def test_a_misspelt_key_of_the_trainer(rlhf: Call, tiny_model: Path) -> None:
    dialogues(Path("d.jsonl"))
    code, _, error = rlhf("train", config(tiny_model), "trainer.wieght_decay=0.1")
    assert code == 2
    assert "did you mean `weight_decay`?" in one_line(error)


def test_missing_files(rlhf: Call, tiny_model: Path) -> None:
    code, _, error = rlhf("train", "nowhere.yaml")
    assert (code, "nowhere.yaml" in one_line(error)) == (2, True)
    code, _, error = rlhf("train", config(tiny_model))
    assert (code, "d.jsonl: no such file" in one_line(error)) == (2, True)
    dialogues(Path("d.jsonl"))
    code, _, error = rlhf("train", config(tiny_model, base_model="no/such/folder"))
    assert (code, "no/such/folder cannot be loaded" in one_line(error)) == (2, True)
    code, _, error = rlhf("release", "list", "--store", "no.db")
    assert (code, "no.db: no such store" in one_line(error)) == (2, True)
    assert not Path("no.db").exists()


def test_a_broken_row(rlhf: Call, tiny_model: Path) -> None:
    with dialogues(Path("d.jsonl")).open("a") as file:
        file.write('{"context": "User: x", "response"\n')
    code, _, error = rlhf("train", config(tiny_model))
    assert code == 1
    assert "d.jsonl:41: is not valid JSON" in one_line(error)
    assert not Path("runs").exists()


def test_only_up_votes_for_dpo(rlhf: Call, tiny_model: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": f"a{n}", "label": True} for n in range(20)]
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, error = rlhf("train", config(tiny_model, stage="dpo"))
    assert code == 1
    line = one_line(error)
    assert "dpo: needs pairs" in line and "use stage: kto" in line
    code, _, error = rlhf("train", config(tiny_model, stage="kto"))
    assert code == 1
    assert "needs up-votes and down-votes" in one_line(error)


def test_an_empty_snapshot(rlhf: Call, tiny_model: Path) -> None:
    dialogues(Path("d.jsonl"))
    Path("same.py").write_text(
        "def same(prompts, completions, **c):\n    return [1.0] * len(prompts)"
    )
    simulate = {
        "taste": {"name": "same.py:same"},
        "comparisons": 1.0,
        "sampling": {"max_new_tokens": 4},
    }
    code, _, error = rlhf("loop", loop_config(tiny_model, simulate=simulate))
    assert code == 1
    assert "tie" in one_line(error)
    assert not list(Path("runs/snapshots").glob("*"))


BAD_REWARDS = {
    "raises": ("raise KeyError('oops')", "KeyError"),
    "nan": ("return [float('nan')] * len(prompts)", "nan"),
    "length": ("return [0.0]", "returned 1 scores for"),
}


@pytest.mark.parametrize("kind", list(BAD_REWARDS))
def test_a_bad_reward(kind: str, rlhf: Call, tiny_model: Path) -> None:
    body, told = BAD_REWARDS[kind]
    dialogues(Path("d.jsonl"))
    Path("bad.py").write_text(f"def bad(prompts, completions, **columns):\n    {body}\n")
    simulate = {"taste": {"name": "bad.py:bad"}, "sampling": {"max_new_tokens": 4}}
    code, _, error = rlhf("loop", loop_config(tiny_model, simulate=simulate))
    assert code == 1
    line = one_line(error)
    assert "bad" in line and told.lower() in line.lower()
    code, out, _ = rlhf("votes", "stats", "--json")
    assert (code, json.loads(out)["interactions"]) == (0, 0)


def test_an_unknown_reward_names_the_nearest(rlhf: Call, tiny_model: Path) -> None:
    dialogues(Path("d.jsonl"))
    simulate = {"taste": {"name": "lenght"}, "sampling": {"max_new_tokens": 4}}
    code, _, error = rlhf("loop", loop_config(tiny_model, simulate=simulate))
    assert code == 1
    assert "length" in one_line(error)


def test_an_adapter_with_a_flipped_bit(rlhf: Call, tiny_model: Path) -> None:
    dialogues(Path("d.jsonl"))
    code, out, _ = rlhf("train", config(tiny_model, store="s.db"), "--json")
    assert code == 0
    policy = json.loads(out)
    weights = Path(policy["folder"]) / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-9] ^= 4
    weights.write_bytes(data)
    code, _, error = rlhf("release", "promote", policy["policy"], "--store", "s.db")
    assert code == 1
    assert "adapter_model.safetensors is not the file that was saved" in one_line(error)
    code, out, _ = rlhf("release", "list", "--store", "s.db", "--json")
    assert json.loads(out)["champion"] is None
    code, _, error = rlhf("train", config(tiny_model, stage="kto", policy=policy["folder"]))
    assert code == 1


@pytest.mark.slow
def test_a_full_disk(tiny_model: Path, here: Path) -> None:
    """The files may grow to 24 kB: smaller than an adapter, larger than what comes before it."""
    dialogues(Path("d.jsonl"))
    arguments = [sys.executable, "-m", "rlhf.cli", "train", config(tiny_model)]
    done = subprocess.run(
        arguments, capture_output=True, text=True, preexec_fn=_small_files, timeout=120
    )
    assert done.returncode == 1, done.stderr
    line = one_line(done.stderr)
    assert "too large" in line.lower() or "disk" in line
    assert policies_in(here / "runs") == []
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr  # with room again, the same command goes on


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails(number: int, rlhf: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number), "runs/x")

    monkeypatch.setattr(cli, "app", fail)
    code, _, error = rlhf("train", "c.yaml")
    assert (code, f"runs/x: {os.strerror(number)}" in one_line(error)) == (1, True)


def test_a_snapshot_that_holds_out_more_than_all(rlhf: Call) -> None:
    code, _, error = rlhf("snapshot", "build", "--held-out", "2")
    assert (code, "snapshot build: `held_out`: " in one_line(error)) == (2, True)
    assert not Path("runs").exists()


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_loop_of_no_cycles(count: str, rlhf: Call, tiny_model: Path) -> None:
    dialogues(Path("d.jsonl"))
    code, _, error = rlhf("loop", loop_config(tiny_model), "--cycles", count)
    assert code == 2 and "Traceback" not in error and "cycles" in error
    assert not Path("runs").exists()


def _small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))
