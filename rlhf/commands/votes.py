"""`rlhf votes` and `rlhf snapshot`: what users said, and the data set that it becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

votes = typer.Typer(help="What users said.")
snapshot = typer.Typer(help="Immutable data sets made of votes.")


@votes.callback()
def _votes() -> None:
    """What users said."""


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
