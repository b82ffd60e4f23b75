"""What is carried elsewhere or let go: `rlhf votes backup|restore|expire`, `rlhf runs prune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

runs = typer.Typer(help="Run folders: what training and evaluation left.")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


@runs.callback()
def _runs() -> None:
    """Run folders: what training and evaluation left."""


def backup(
    file: Annotated[Path, typer.Argument(help="A new file; an existing one is not touched.")],
    store: StoreAt = DEFAULT_STORE,
    key: Annotated[bool, typer.Option(help="Carry the key that voters are hashed under.")] = True,
    policies: Annotated[bool, typer.Option(help="Carry the champions' files.")] = True,
    as_json: AsJson = False,
) -> None:
    """The store, its key and its champions in one file, while others go on writing.

    Example: `rlhf votes backup backups/monday.zip --store runs/feedback.db`
    """
    from rlhf.commands.show import existing_store
    from rlhf.files import sha256_file
    from rlhf.progress import progress

    with existing_store(store) as opened, progress("pages copied", total=None) as advance:
        manifest = opened.backup(
            file,
            key=key,
            policies=policies,
            advance=lambda done, total: advance(completed=done, total=total),
        )
    told = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "sha256": sha256_file(file),
        "watermark": manifest.watermark,
        "revision": manifest.revision,
        "key": manifest.has_key,
        "champions": list(manifest.champions),
    }
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    typer.echo(f"{file}: rows up to {manifest.watermark}, {told['bytes']:,} bytes")
    typer.echo(f"sha256 {told['sha256']}")
    _tell_key(manifest.has_key, f"{store}.key")
    typer.echo(f"champions: {', '.join(manifest.champions) or 'none carried'}")


def restore(
    file: Annotated[Path, typer.Argument(help="What `rlhf votes backup` wrote.")],
    store: StoreAt = DEFAULT_STORE,
    policies: Annotated[Path, typer.Option(help="Where the champions' files go.")] = Path(
        "runs/restored"
    ),
    as_json: AsJson = False,
) -> None:
    """A backup as a store again, checked byte for byte; nothing that exists is overwritten.

    Example: `rlhf votes restore backups/monday.zip --store runs/feedback.db`
    """
    from feedback_store import restore as put_back
    from rlhf.errors import UsageError

    if "://" in store:
        raise UsageError(f"{store}: a backup is restored into a file; name one with --store")
    manifest = put_back(file, Path(store), policies)
    if as_json:
        typer.echo(manifest.model_dump_json())
        return
    typer.echo(f"{store}: rows up to {manifest.watermark}")
    _tell_key(manifest.has_key, f"{store}.key")
    for id in manifest.champions:
        typer.echo(f"champion {id}: {policies / id}")


def _tell_key(carried: bool, where: str) -> None:
    if not carried:
        typer.echo(f"no key in it: carry {where} too, the store opens with it alone")


def expire(
    rules: Annotated[Path, typer.Argument(help="YAML with the ages; see the example.")],
    store: StoreAt = DEFAULT_STORE,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let go of interactions and votes that are older than the rules allow.

    The rules: `people: {interactions_days: 365, votes_days: 730}`, the same under `simulated:`,
    and under `projects: NAME:` where a project keeps rows longer or shorter. Snapshots already
    built hold their rows until `rlhf runs prune` finds that nothing needs them.

    Example: `rlhf votes expire retention.yaml --dry-run`
    """
    from feedback_store import RetentionRules
    from rlhf.commands.show import existing_store
    from rlhf.config import load, validate

    parsed = validate(RetentionRules, load(rules), str(rules))
    with existing_store(store) as opened:
        gone = opened.expire(parsed, dry_run=dry_run)
    for name in sorted(set(parsed.projects) - set(gone)):
        typer.echo(f"note: no project {name} in {store}", err=True)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "gone": gone}, ensure_ascii=False))
        return
    verb = "would go" if dry_run else "gone"
    for project, counts in gone.items():
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        typer.echo(f"{project}: {told} {verb}")


@runs.command()
def prune(
    store: StoreAt = DEFAULT_STORE,
    folder: Annotated[Path, typer.Option("--runs", help="The runs folder.")] = Path("runs"),
    last: Annotated[int, typer.Option(min=0, help="So many of the newest stay.")] = 10,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Remove runs and snapshots that no release, ancestor or newer run needs.

    Example: `rlhf runs prune --last 5 --dry-run`
    """
    from rlhf.commands.show import existing_store
    from rlhf.pruning import plan
    from rlhf.pruning import prune as remove

    with existing_store(store) as opened:
        found = (plan if dry_run else remove)(opened, folder, last)
    goes = [entry for entry in found if entry.kept is None]
    total = sum(entry.bytes for entry in goes)
    if as_json:
        rows = [{"path": str(e.path), "bytes": e.bytes, "kept": e.kept} for e in found]
        typer.echo(json.dumps({"dry_run": dry_run, "bytes": total, "folders": rows}))
        return
    for entry in found:
        typer.echo(f"{entry.kept or 'goes':<28} {entry.bytes:>14,}  {entry.path}")
    verb = "would go" if dry_run else "gone"
    typer.echo(f"{len(goes)} of {len(found)} folders {verb}, {total:,} bytes")
