"""The commands around a loop, on what a tiny one left behind."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf import cli
from rlhf.rounds import run_loop

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def rlhf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command; gives its exit code and output."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rlhf", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        code = stop.value.code
        assert code in (0, None, 1, 2), told.err
        return (code if isinstance(code, int) else 0), told.out

    return call


def test_commands_tell_what_a_loop_left(config: Any, workspace: Path, rlhf: Call) -> None:
    lenient = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}}
    (outcome,) = run_loop(config(gate=lenient), workspace)
    sft = json.loads(rlhf("release", "list", "--json")[1])["history"][0]["policy"]

    told = json.loads(rlhf("release", "list", "--json")[1])
    assert told["champion"] == outcome.candidate and told["previous"] == sft
    assert [p["stage"] for p in told["parents"]] == ["kto", "dpo", "sft"]
    assert outcome.candidate in rlhf("release", "list")[1]

    shown = json.loads(rlhf("release", "show", outcome.candidate[:8])[1])
    assert shown["id"] == outcome.candidate and shown["decisions"][0]["promote"]

    line = json.loads(rlhf("lineage", "--json")[1])
    assert line[0]["policy"] == outcome.candidate
    assert line[-1]["parent"] is None and line[0]["counts"]
    assert rlhf("lineage")[1].splitlines()[0].startswith(outcome.candidate)

    stats = json.loads(rlhf("votes", "stats", "--json")[1])
    assert stats["simulated"] > 0 and stats["real"] == 0

    built = json.loads(rlhf("snapshot", "build", "--json")[1])
    folder = f"runs/snapshots/{built['id']}"
    assert json.loads(rlhf("snapshot", "show", folder, "--json")[1]) == built

    report = outcome.report.read_bytes()
    code, out = rlhf("evaluate", "loop.yaml", "--json")  # the champion against its first ancestor
    figures = json.loads(out)
    assert code == 0 and (figures["candidate"], figures["champion"]) == (outcome.candidate, sft)
    assert figures["simulated"] and Path(figures["report"]).exists()
    assert outcome.report.read_bytes() == report

    code, _ = rlhf("gate", "loop.yaml", "--candidate", sft)
    assert code in (0, 1)

    before = stats["interactions"]
    code, out = rlhf("simulate", "loop.yaml", "simulate.prompts=4", "--json")
    assert code == 0 and json.loads(out)["votes"] > 0
    after = json.loads(rlhf("votes", "stats", "--json")[1])["interactions"]
    assert before + 4 <= after <= before + 8

    assert f"champion {sft}" in rlhf("release", "rollback")[1]
    assert f"champion {outcome.candidate}" in rlhf("release", "promote", outcome.candidate[:6])[1]


def test_every_command_has_help_with_an_example(rlhf: Call) -> None:
    commands = [
        ["train"],
        ["loop"],
        ["evaluate"],
        ["gate"],
        ["simulate"],
        ["chat"],
        ["lineage"],
        ["erase"],
        ["release", "list"],
        ["release", "show"],
        ["release", "promote"],
        ["release", "rollback"],
        ["votes", "stats"],
        ["votes", "backup"],
        ["votes", "restore"],
        ["votes", "expire"],
        ["runs", "prune"],
        ["votes", "import"],
        ["votes", "export"],
        ["snapshot", "build"],
        ["snapshot", "show"],
        ["rewards", "list"],
    ]
    for command in commands:
        code, out = rlhf(*command, "--help")
        assert code == 0 and "Example: " in out, command


def test_rewards_are_listed(rlhf: Call) -> None:
    names = {row["name"] for row in json.loads(rlhf("rewards", "list", "--json")[1])}
    assert {"style", "length", "repetition", "compliance"} <= names


def test_a_policy_answers_on_the_terminal(
    config: Any, workspace: Path, rlhf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_loop(config(frozen=True), workspace)
    # Ended by an empty line, and by the end of the input.
    for typed, asked in (("/style formal\nhello\n\n", 3), ("hello", 2)):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code, out = rlhf("chat", "loop.yaml")
        assert code == 0 and "an empty line ends" in out
        assert out.count("you:") == asked
