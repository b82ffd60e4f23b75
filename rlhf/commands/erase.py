"""`rlhf erase`: a person out of the store and of everything that was made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

if TYPE_CHECKING:
    from rlhf.erase import Report


def erase(
    voter: Annotated[
        str | None, typer.Option(help="All votes, comments and corrections of this voter.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(help="This user's conversations, and all that anybody said of them."),
    ] = None,
    store: StoreAt = DEFAULT_STORE,
    runs: Annotated[Path, typer.Option(help="Where run folders are.")] = Path("runs"),
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A folder or file that may hold exports; may be given several times."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person: rows, exports, snapshots, caches, free pages; name the policies they taint.

    One who asked and voted is named by both options. An erasure that was interrupted is completed
    by the same command. Backups, and copies outside the runs folder, the libraries' caches and
    --also, are not reached.

    Example: `rlhf erase --user u-4711 --voter u-4711 --also exports --dry-run`
    """
    from pydantic import ValidationError

    from rlhf.commands.show import existing_store
    from rlhf.erase import Scope, plan
    from rlhf.erase import erase as take_out
    from rlhf.errors import UsageError

    given = frozenset(id for id in (voter, user) if id is not None)
    if not given:
        raise UsageError("erase: name the person by --user, --voter or both")
    for path in also or ():
        if not path.exists():
            raise UsageError(f"--also {path}: no such file or folder")
    with existing_store(store) as opened:
        scope = Scope(opened, runs, tuple(also or ()), given)
        try:
            person = opened.person(user=user, voter=voter)
        except ValidationError:
            raise UsageError("erase: an id has 1 to 128 letters, digits, and . _ : -") from None
        report = plan(scope, person) if dry_run else take_out(scope, person)
    if as_json:
        typer.echo(json.dumps(report.document(), ensure_ascii=False))
    else:
        _print(report)


def _print(report: Report) -> None:
    would = report.erasure is None
    rows = ", ".join(f"{n} {name}" for name, n in report.rows.items()) or "none"
    typer.echo(f"{'would erase' if would else f'erasure {report.erasure}'}: rows: {rows}")
    for path in report.copies:
        typer.echo(f"  copy {'to remove' if would else 'removed'}: {path}")
    for old, new in report.snapshots.items():
        then = "would be built again without" if would else f"→ {new or 'no row was left'}"
        typer.echo(f"  snapshot {old} {then}")
    for one in report.tainted:
        may = "may be tainted" if would else "is tainted"
        typer.echo(f"  policy {one['policy']} {may} through {one['through']} {one['source']}")
        typer.echo(f"    rebuild: {one['rebuild']}")
    for release in report.releases:
        serves = ", which answers users now" if release["champion"] else ""
        typer.echo(f"  release {release['release']} is of tainted {release['policy']}{serves}")
    for path in report.left:
        typer.echo(f"  left: {path} is a database that holds the person; erase there with --store")
    if not would:
        typer.echo(f"finished at {report.finished_at}")
