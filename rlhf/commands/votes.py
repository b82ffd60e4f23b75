"""`rlhf votes` and `rlhf snapshot`: what users said, and the data set that it becomes."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt


class Right(StrEnum):
    """A known answer's vote."""

    up = "up"
    down = "down"
    none = "none"


votes = typer.Typer(help="What users said.")
snapshot = typer.Typer(help="Immutable data sets made of votes.")


@votes.callback()
def _votes() -> None:
    """What users said."""


@votes.command()
def gold(
    interaction: Annotated[str, typer.Argument(help="An answer's id.")],
    right: Annotated[Right, typer.Argument(help="The vote that is right, or none to forget it.")],
    store: StoreAt = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Say what a careful voter says of an answer; reviewers get it among the others.

    Example: `rlhf votes gold 3f2a… down`
    """
    from rlhf.commands.show import existing_store

    up = {Right.up: True, Right.down: False, Right.none: None}[right]
    with existing_store(store) as opened:
        opened.set_gold(interaction, up)
        known = len(opened.gold())
    if as_json:
        typer.echo(json.dumps({"interaction": interaction, "up": up, "known": known}))
    else:
        typer.echo(f"{interaction}: {right.value}; {known} known answers")


@snapshot.command()
def build(
    store: StoreAt = DEFAULT_STORE,
    folder: Annotated[Path, typer.Option(help="Where snapshots go.")] = Path("runs/snapshots"),
    project: Annotated[str, typer.Option("--project", help="Whose votes.")] = "default",
    held_out: Annotated[float, typer.Option(help="Share of conversations kept aside.")] = 0.1,
    watermark: Annotated[int | None, typer.Option(help="Votes up to here; all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Freeze the votes into a data set; the same votes give the same snapshot.

    Example: `rlhf snapshot build --project default --held-out 0.2`
    """
    from feedback_store import SnapshotRules, build_snapshot
    from rlhf.commands.show import existing_store
    from rlhf.config import validate

    given = {"project": project, "held_out": held_out}
    rules = validate(SnapshotRules, given, "snapshot build")
    with existing_store(store) as opened:
        manifest = build_snapshot(opened, folder, rules, watermark)
    _tell(manifest.model_dump(mode="json"), as_json)


@snapshot.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A snapshot's folder.")],
    as_json: AsJson = False,
) -> None:
    """A snapshot's manifest, after checking its files.

    Example: `rlhf snapshot show runs/snapshots/3f2a…`
    """
    from feedback_store import load_snapshot

    _tell(load_snapshot(folder).model_dump(mode="json"), as_json)


def _tell(manifest: dict[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(manifest, ensure_ascii=False))
        return
    typer.echo(f"snapshot {manifest['id']}")
    for key in ("watermark", "files", "counts"):
        typer.echo(f"{key}: {json.dumps(manifest[key], ensure_ascii=False, indent=2)}")
