"""`rlhf doctor`: whether this machine is ready, and what a training will take of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlhf.commands.run import AsJson, Overrides

if TYPE_CHECKING:
    from rlhf.doctor.advice import Option
    from rlhf.doctor.examine import Examined
    from rlhf.doctor.machine import Check


def doctor(
    config: Annotated[
        Path | None,
        typer.Argument(help="A YAML file of `rlhf train` or `rlhf loop`.", metavar="[CONFIG]"),
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Look at this machine; with CONFIG, tell what its training will take and which way fits.

    Example: `rlhf doctor configs/sft_medical_zh.yaml lora.r=8`
    """
    if config is None:
        _machine(as_json)
        return
    from rlhf.config import load
    from rlhf.doctor.examine import examine, here
    from rlhf.doctor.stages import planned
    from rlhf.progress import progress

    now = here()  # before there are rows or a model
    stages = planned(load(config, overrides or ()), str(config), config.resolve().parent)
    found = []
    with progress("doctor", total=len(stages)) as advance:
        for stage in stages:
            found.append(examine(stage, now))
            advance()
    if as_json:
        typer.echo(json.dumps({"stages": [_figures(e) for e in found]}, ensure_ascii=False))
    else:
        for examined in found:
            _show(examined)
    if any(e.recommendation.way is None for e in found):
        raise typer.Exit(1)


def _machine(as_json: bool) -> None:
    from rlhf.doctor.machine import checks

    found = checks(Path("runs"))
    ok = all(check.ok for check in found)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "checks": [asdict(c) for c in found]}))
    else:
        _show_checks(found)
    if not ok:
        raise typer.Exit(1)


def _show_checks(checks: list[Check]) -> None:
    table = Table("", "found", "", "what to do")
    for check in checks:
        mark = "ok" if check.ok else "missing"
        table.add_row(check.name, escape(check.found), mark, escape(check.advice))
    Console().print(table)


def _figures(examined: Examined) -> dict[str, Any]:
    figures = asdict(examined)
    for way, option in examined.options.items():
        figures["options"][way]["memory"]["total"] = option.memory.total
        if option.duration is not None:
            figures["options"][way]["duration"]["total"] = option.duration.total
    return figures


def _show(examined: Examined) -> None:
    from rlhf.doctor.advice import NAMES, gigabytes

    told = f"{examined.rows:,} rows, {examined.tokens:,} tokens, {examined.steps:,} steps"
    table = Table("", "trained", "share", "memory", "training", "proof", "fits")
    table.title = f"{examined.stage}: {told}, {examined.parameters / 1e6:,.0f}M weights"
    for way, option in examined.options.items():
        mark = " (configured)" if way == examined.configured else ""
        table.add_row(NAMES[way] + mark, *_row(option))
    console = Console()
    console.print(table)
    if examined.note:
        console.print(f"  {escape(examined.note)}")
    console.print(f"  {gigabytes(examined.free)} are free")
    for line in examined.warnings:
        console.print(f"  mind: {escape(line)}")
    console.print(f"  {escape(examined.recommendation.reason)}")


def _row(option: Option) -> list[str]:
    from rlhf.doctor.advice import gigabytes, span

    took = option.duration
    times = ["not measured", ""] if took is None else [span(took.training), span(took.proof)]
    return [
        f"{option.trainable:,}",
        f"{option.share:.2%}",
        gigabytes(option.memory.total),
        *times,
        "yes" if option.fits else "no",
    ]
