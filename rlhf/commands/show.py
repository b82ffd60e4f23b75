"""What several commands print, and the store that they look into."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.console import Console

from feedback_store import Store
from rlhf.errors import UsageError
from rlhf.evaluation.compare import terminal_table
from rlhf.evaluation.gate import GateDecision
from rlhf.evaluation.trial import Trial


def existing_store(where: str) -> Store:
    """Open a store for reading; a mistyped path is told, not made into an empty store."""
    if "://" not in where and not Path(where).exists():
        raise UsageError(f"{where}: no such store; name it with --store or RLHF_STORE")
    return Store.open(where)


def print_json(trial: Trial, decision: GateDecision, report: Path) -> None:
    """Figures for a script."""
    measured = trial.measurements
    typer.echo(
        json.dumps(
            {
                "candidate": measured.candidate.policy,
                "champion": measured.champion.policy,
                "judge": measured.judge,
                "simulated": measured.simulated,
                "decision": decision.model_dump(mode="json"),
                "report": str(report),
            },
            ensure_ascii=False,
        )
    )


def print_trial(trial: Trial, decision: GateDecision, report: Path) -> None:
    """A table for people."""
    Console().print(terminal_table(decision, trial.measurements))
    for line in decision.lines():
        typer.echo(line)
    for warning in decision.warnings:
        typer.echo(f"note: {warning}")
    typer.echo(f"report: {report}")
