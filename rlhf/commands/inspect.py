"""Commands that only look: rewards and lineage."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

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


def lineage(
    policy: Annotated[
        str | None, typer.Argument(help="A policy's id; the champion when left out.")
    ] = None,
    store: StoreAt = DEFAULT_STORE,
    project: Annotated[str, typer.Option("--project", help="Whose champion.")] = "default",
    as_json: AsJson = False,
) -> None:
    """From a policy back to the base model: snapshots, votes, runs and gate decisions.

    Example: `rlhf lineage --json`
    """
    from rlhf.commands.show import existing_store
    from rlhf.errors import UsageError
    from rlhf.lineage import ancestry
    from rlhf.release import find

    with existing_store(store) as opened:
        current = opened.champion(project)
        if policy is None and current is None:
            raise UsageError(f"{store}: project {project} has no champion; name a policy")
        start = find(opened, policy).id if policy else current.id if current else None
        snapshots = {s.id: s for s in opened.snapshots()}
        decisions = {d.candidate: d for d in opened.decisions()}
        line: list[dict[str, Any]] = []
        for record in ancestry(opened, str(start)):
            snapshot = snapshots.get(record.snapshot or "")
            decision = decisions.get(record.id)
            line.append(
                {
                    "policy": record.id,
                    "run": record.run,
                    "parent": record.parent,
                    "base_model": record.base_model,
                    "snapshot": record.snapshot,
                    "counts": None if snapshot is None else dict(snapshot.counts),
                    "promoted": None if decision is None else decision.promote,
                }
            )
    if as_json:
        typer.echo(json.dumps(line, ensure_ascii=False))
        return
    for entry in line:
        gate = {None: "", True: ", gate: promote", False: ", gate: refuse"}[entry["promoted"]]
        data = f", snapshot {entry['snapshot']}" if entry["snapshot"] else ""
        typer.echo(f"{entry['policy']}  {entry['run']}{data}{gate}")
    if line:
        typer.echo(line[-1]["base_model"])
