"""Commands that only look: rewards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlhf.commands.release import AsJson

if TYPE_CHECKING:
    from rewards import RewardSpec

rewards = typer.Typer(help="Rewards: what can be scored.")

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Only these: names, `path.py:function` or import paths.", show_default=False
    ),
]


@rewards.callback()
def _rewards() -> None:
    """Rewards: what can be scored."""


@rewards.command("list")
def list_rewards(names: Names = None, as_json: AsJson = False) -> None:
    """The rewards that a configuration can name: parameters, documentation, source and version.

    Example: `rlhf rewards list relevance my_rewards.py:names_a_deadline`
    """
    from rewards import list_rewards as known
    from rewards import resolve

    specs = [resolve(name, Path()) for name in names] if names else known()
    rows = [_described(spec) for spec in specs]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
    elif names:
        for row in rows:
            typer.echo(_page(row))
    else:
        _table(rows)


def _described(spec: RewardSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "params": {key: repr(value) for key, value in spec.params.items()},
        "veto": spec.veto,
        "source": _origin(spec),
        "location": spec.source,
        "version": spec.version,
        "doc": (spec.doc.strip().splitlines() or [""])[0],
        "docs": spec.doc,
    }


def _origin(spec: RewardSpec) -> str:
    """Where it comes from: this project, an installed package's entry point, or elsewhere."""
    from importlib.metadata import entry_points

    from rewards.registry import GROUP

    if spec.shipped:
        return "shipped"
    if ".py:" in spec.source:
        return "file"
    plugins = {point.value for point in entry_points(group=GROUP)}
    return "entry point" if spec.source in plugins else "import"


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "parameters", "veto", "what it scores", "source", "version")
    for row in rows:
        veto = "yes" if row["veto"] else ""
        table.add_row(row["name"], _params(row), veto, row["doc"], row["source"], row["version"])
    Console().print(table)


def _page(row: dict[str, Any]) -> str:
    """One reward in full."""
    veto = ", a veto" if row["veto"] else ""
    head = f"{row['name']}{veto} · {row['source']}: {row['location']} · version {row['version']}"
    return f"{head}\nparameters: {_params(row) or 'none'}\n\n{row['docs']}\n"


def _params(row: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in row["params"].items())
