"""`rlhf votes stats`: what the votes say so far, and how many more are needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

if TYPE_CHECKING:
    from feedback_store import Store
    from rlhf.evaluation.votes import Aims, VoteReport


def stats(
    store: StoreAt = DEFAULT_STORE,
    project: Annotated[str | None, typer.Option("--project", help="Only this one.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A loop's YAML: its threshold, split and gate.")
    ] = None,
    power: Annotated[float | None, typer.Option(help="Of the gate, as in `gate: power:`.")] = None,
    effect: Annotated[
        float | None, typer.Option(help="Win rate above one half to find, as `gate: effect:`.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Votes and rates by policy, style, intent and language, and how many more are needed.

    A rate is the share of up; its 95% interval holds however often one looks.

    Example: `rlhf votes stats --config loop.yaml --html votes.html`
    """
    from rlhf.commands.show import existing_store
    from rlhf.evaluation.votes import gather, write_page

    aims = _aims(config, power, effect)
    with existing_store(store) as opened:
        report = gather(opened, project, aims, _trust(opened, project))
    if html is not None:
        write_page(html, report)
    if as_json:
        typer.echo(json.dumps(report.document(), ensure_ascii=False, default=str))
        return
    _print(report)
    if html is not None:
        typer.echo(f"page: {html}")


def _trust(store: Store, project: str | None) -> dict[str, float] | None:
    """How far a project's voters are believed, of those who are believed less than fully."""
    from feedback_store import SnapshotRules
    from feedback_store.trust import trust_as_of
    from feedback_store.trust.rules import TrustRules

    if project is None:
        return None
    rules = SnapshotRules(project=project, trust=TrustRules(refuse_share=1.0))
    return trust_as_of(store, rules, store.watermark()).voters


def _aims(config: Path | None, power: float | None, effect: float | None) -> Aims:
    """The loop's own settings, or what a loop has by itself."""
    from feedback_store import SnapshotRules
    from rlhf.config import load, validate
    from rlhf.cycle_settings import LoopConfig
    from rlhf.evaluation.gate import GateSettings
    from rlhf.evaluation.votes import Aims

    given = {"power": power, "effect": effect}
    changes = {name: value for name, value in given.items() if value is not None}
    own = {name: field.default for name, field in LoopConfig.model_fields.items()}
    if config is not None:
        loop = validate(LoopConfig, load(config), str(config))
        own |= {"min_votes": loop.min_votes, "held_out": loop.held_out, "gate": loop.gate}
    gate = validate(GateSettings, {**own["gate"].model_dump(), **changes}, "votes stats")
    return Aims(own["min_votes"], own["held_out"], SnapshotRules().salt, gate)


def _print(report: VoteReport) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    totals, voters = report.totals, report.voters
    kinds = ", ".join(f"{count} {kind}" for kind, count in totals["votes"].items()) or "none"
    typer.echo(f"interactions: {totals['interactions']}")
    typer.echo(f"votes: {kinds} ({totals['real']} real, {totals['simulated']} simulated)")
    typer.echo(f"voters: {voters['voters']}, {voters['single']} of them with a single vote")
    for group, shares in report.groups.items():
        table = Table(group, "interactions", "up", "down", "share of up", "95% interval")
        for name, share in shares.items():
            rate, low, high = share["rate"], share["low"], share["high"]
            told = ["–", "–"]
            if rate is not None and low is not None and high is not None:
                told = [f"{rate:.1%}", f"{low:.1%} to {high:.1%}"]
            counts = [str(share["interactions"]), str(share["up"]), str(share["down"])]
            table.add_row(escape(name) or "not named", *counts, *told)
        Console().print(table)
    typer.echo(f"next update: {report.update.votes} more votes ({report.update.have} of "
               f"{report.update.needed})")  # fmt: skip
    typer.echo(
        f"gate: about {report.gate.votes} more votes (has {report.gate.have} of "
        f"{report.gate.needed} held-out conversations for {report.power:.0%} power at a win rate "
        f"of {0.5 + report.effect:.0%})"
    )
