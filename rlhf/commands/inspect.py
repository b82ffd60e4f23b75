"""Commands that only look: rewards."""

from __future__ import annotations

import json

import typer

from rlhf.commands.release import AsJson

rewards = typer.Typer(help="Rewards: what can be scored.")


@rewards.callback()
def _rewards() -> None:
    """Rewards: what can be scored."""


@rewards.command("list")
def list_rewards(as_json: AsJson = False) -> None:
    """The rewards that a configuration can name.

    Example: `rlhf rewards list`
    """
    from rich.console import Console
    from rich.table import Table

    from rewards import list_rewards as known

    specs = known()
    if as_json:
        rows = [
            {
                "name": s.name,
                "params": {k: repr(v) for k, v in s.params.items()},
                "veto": s.veto,
                "version": s.version,
                "doc": (s.doc or "").strip().splitlines()[0],
            }
            for s in specs
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("name", "parameters", "veto", "what it scores")
    for spec in specs:
        params = ", ".join(f"{k}={v!r}" for k, v in spec.params.items())
        table.add_row(
            spec.name, params, "yes" if spec.veto else "", (spec.doc or "").strip().splitlines()[0]
        )
    Console().print(table)
