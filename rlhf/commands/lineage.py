"""`rlhf lineage`: where a policy comes from, or anything else, and what it became."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

if TYPE_CHECKING:
    from rich.tree import Tree

    from feedback_store import Store
    from rlhf.lineage import Node


def lineage(
    id: Annotated[
        str | None,
        typer.Argument(
            help="An interaction, vote, snapshot, run, policy, gate decision (or how its id "
            "begins) or a release's number; the champion when left out."
        ),
    ] = None,
    store: StoreAt = DEFAULT_STORE,
    runs: Annotated[Path, typer.Option(help="Where run folders are.")] = Path("runs"),
    project: Annotated[str, typer.Option("--project", help="Whose champion.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Both ways from any id: what it was made of, and what it went into.

    Votes, snapshots, runs, gate decisions and releases, down to the base model. Without an id: the
    champion's policies, newest first.

    Example: `rlhf lineage 3f2a --json`
    """
    from rich.console import Console

    from rlhf.commands.show import existing_store
    from rlhf.lineage import trace

    with existing_store(store) as opened:
        if id is None:
            _champion(opened, runs, project, store, as_json)
            return
        node = trace(opened, runs, id)
    if as_json:
        typer.echo(json.dumps(node.document(), ensure_ascii=False, default=str))
    else:
        Console(soft_wrap=True, highlight=False).print(_tree(node))


def _champion(store: Store, runs: Path, project: str, where: str, as_json: bool) -> None:
    from rlhf.errors import UsageError
    from rlhf.lineage import ancestry, read_ledger

    current = store.champion(project)
    if current is None:
        raise UsageError(f"{where}: project {project} has no champion; name an id")
    snapshots = {s.id: s for s in store.snapshots()}
    decisions = {d.candidate: d for d in store.decisions()}
    taints = read_ledger(store, runs).taints
    line: list[dict[str, Any]] = []
    for record in ancestry(store, current.id):
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
                "tainted": sorted(t.erasure for t in taints.get(record.id, ())),
            }
        )
    if as_json:
        typer.echo(json.dumps(line, ensure_ascii=False))
        return
    for entry in line:
        gate = {None: "", True: ", gate: promote", False: ", gate: refuse"}[entry["promoted"]]
        data = f", snapshot {entry['snapshot']}" if entry["snapshot"] else ""
        taint = f", TAINTED by erasure {entry['tainted'][0][:8]}" if entry["tainted"] else ""
        typer.echo(f"{entry['policy']}  {entry['run']}{data}{gate}{taint}")
    typer.echo(line[-1]["base_model"])


def _tree(node: Node) -> Tree:
    from rich.tree import Tree

    top = Tree(_label(node))
    for name, nodes in (("made of", node.made_of), ("went into", node.went_into)):
        if nodes:
            _grow(top.add(f"[bold]{name}[/bold]"), nodes, name)
    return top


def _grow(branch: Tree, nodes: list[Node], name: str) -> None:
    for node in nodes:
        grown = branch.add(_label(node))
        _grow(grown, node.made_of if name == "made of" else node.went_into, name)


def _label(node: Node) -> str:
    from rich.markup import escape

    told = {k: v for k, v in node.facts.items() if v not in (None, "", {}, []) and k in _SHOWN}
    words = ", ".join(f"{_SHOWN[k] or k} {_short(v)}".strip() for k, v in told.items())
    taints = node.facts.get("tainted")
    mark = " [red]TAINTED[/red]" if taints else ""
    rebuild = node.facts.get("rebuild")
    again = f"\n  rebuild: {escape(rebuild)}" if rebuild else ""
    return f"{node.kind} [bold]{escape(node.id)}[/bold]{mark}  {escape(words)}{again}"


# What a line of the tree tells, and by which word; JSON has everything.
_SHOWN = {
    "stage": "",
    "in_files": "in",
    "votes": "votes",
    "votes_sample": "such as",
    "watermark": "up to",
    "erased": "ERASED,",
    "without_erased": "without",
    "promote": "promote:",
    "action": "",
    "created_at": "at",
    "metric": "",
    "choice": "chose",
    "withdrawn": "withdrawn:",
    "answered": "answered",
    "finished": "finished:",
    "code": "code",
    "folder": "in",
}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" for k, v in value.items() if v is not None)
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
