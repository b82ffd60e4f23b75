"""`rlhf release`: which policy answers users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from feedback_store import Freeze, Store

app = typer.Typer(help="Which policy answers users: list, show, promote, roll back, freeze.")

StoreAt = Annotated[
    str, typer.Option("--store", envvar="RLHF_STORE", help="A store's file or database URL.")
]
Project = Annotated[str, typer.Option("--project", help="Whose releases.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
DEFAULT_STORE = "runs/feedback.db"


@app.command("list")
def list_(
    store: StoreAt = DEFAULT_STORE, project: Project = "default", as_json: AsJson = False
) -> None:
    """The champion with its parents, and the history of releases.

    Example: `rlhf release list --json`
    """
    from rlhf.commands.show import existing_store
    from rlhf.lineage import ancestry
    from rlhf.release import previous

    with existing_store(store) as opened:
        current = opened.champion(project)
        history = [r.model_dump(mode="json") for r in opened.releases(project)]
        line = ancestry(opened, current.id) if current else []
        result: dict[str, Any] = {
            "champion": None if current is None else current.id,
            "previous": previous(opened, project),
            "parents": [
                {"id": p.id, "stage": _stage(p.run), "snapshot": p.snapshot, "run": p.run}
                for p in line
            ],
            "base_model": line[-1].base_model if line else None,
            "frozen": _freeze(opened.frozen(project)),
            "history": history,
        }
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        _print(result)


def _freeze(freeze: Freeze | None) -> dict[str, str] | None:
    if freeze is None:
        return None
    return {"reason": freeze.reason, "since": freeze.created_at.isoformat()}


def _stage(run: str | None) -> str | None:
    return None if run is None else run.partition("-")[0]


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    if (frozen := result["frozen"]) is not None:
        typer.echo(f"frozen   since {frozen['since'][:19]}: {frozen['reason']}")
    if result["champion"] is None:
        typer.echo("no release yet; `rlhf loop CONFIG` makes the first")
        return
    path = " ← ".join(f"{p['id'][:8]} ({p['stage']})" for p in result["parents"])
    typer.echo(f"champion {result['champion']}\nparents  {path} ← {result['base_model']}")
    table = Table("when", "action", "policy", "before", "reason")
    for row in result["history"]:
        when = str(row["created_at"])[:19]
        table.add_row(when, row["action"], row["policy"], row["previous"] or "–", row["reason"])
    Console().print(table)


@app.command()
def show(
    policy: Annotated[str, typer.Argument(help="A policy's id or its beginning.")],
    store: StoreAt = DEFAULT_STORE,
) -> None:
    """A policy's manifest, after checking that its files are the ones that were saved.

    Example: `rlhf release show 3f2a`
    """
    from rlhf.commands.show import existing_store
    from rlhf.policies import verify_policy
    from rlhf.release import find

    with existing_store(store) as opened:
        found = find(opened, policy)
        verify_policy(found)
        decisions = [
            {"promote": d.promote, "champion": d.champion, "reasons": list(d.reasons)}
            for d in opened.decisions()
            if d.candidate == found.id
        ]
    typer.echo(json.dumps({**found.manifest, "decisions": decisions}, indent=2, ensure_ascii=False))


@app.command()
def promote(
    policy: Annotated[str, typer.Argument(help="A policy's id or its beginning.")],
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "by hand",
    store: StoreAt = DEFAULT_STORE,
    project: Project = "default",
) -> None:
    """Make a policy the champion; its files are verified first.

    Example: `rlhf release promote 3f2a --reason "reviewed by the team"`
    """
    from rlhf.commands.show import existing_store
    from rlhf.release import promote as move

    with existing_store(store) as opened:
        release = move(opened, policy, reason, project)
        _tell_taint(opened, release.policy)
    typer.echo(f"champion {release.policy} (before: {release.previous or 'none'})")


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "by hand",
    store: StoreAt = DEFAULT_STORE,
    project: Project = "default",
) -> None:
    """Go back to the policy before the champion; its files are verified first.

    Example: `rlhf release rollback --reason "more complaints"`
    """
    from rlhf.commands.show import existing_store
    from rlhf.release import rollback as move

    with existing_store(store) as opened:
        release = move(opened, reason, project)
        _tell_taint(opened, release.policy)
    typer.echo(f"champion {release.policy} (before: {release.previous or 'none'})")


@app.command()
def freeze(
    reason: Annotated[str, typer.Option(help="Kept, and told to whoever wants to promote.")],
    store: StoreAt = DEFAULT_STORE,
    project: Project = "default",
    as_json: AsJson = False,
) -> None:
    """Keep the champion where it is: no loop and nobody promotes until it is thawed.

    A roll back stays possible. Example: `rlhf release freeze --reason "exam week"`
    """
    from rlhf.commands.show import existing_store

    with existing_store(store) as opened:
        standing = opened.freeze(project, reason)
    if as_json:
        typer.echo(json.dumps({"project": project, "frozen": _freeze(standing)}))
    else:
        typer.echo(f"project {project} is frozen; `rlhf release thaw` lets its champion move again")


@app.command()
def thaw(
    reason: Annotated[str, typer.Option(help="Kept beside the freeze's.")],
    store: StoreAt = DEFAULT_STORE,
    project: Project = "default",
    as_json: AsJson = False,
) -> None:
    """Let the champion move again; what was trained meanwhile can be promoted.

    Example: `rlhf release thaw --reason "exams are over"`
    """
    from rlhf.commands.show import existing_store

    with existing_store(store) as opened:
        ended = opened.thaw(project, reason)
    if as_json:
        typer.echo(json.dumps({"project": project, "frozen": None, "ended": _freeze(ended)}))
    elif ended is None:
        typer.echo(f"project {project} wasn't frozen")
    else:
        typer.echo(f"project {project} is thawed (frozen since {ended.created_at:%Y-%m-%d %H:%M})")


def _tell_taint(store: Store, policy: str) -> None:
    """A tainted policy may answer users until it is rebuilt, but not unsaid."""
    from rlhf.lineage import read_ledger

    if taints := read_ledger(store, Path("runs")).taints.get(policy):
        erased = ", ".join(taint.erasure[:8] for taint in taints)
        typer.echo(
            f"note: policy {policy} learned from what was erased since (erasure {erased}); "
            f"`rlhf lineage {policy}` has the command that rebuilds it",
            err=True,
        )
