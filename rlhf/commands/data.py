"""`rlhf data prepare`: from what people have to what the stages train on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rlhf.commands.run import AsJson, Overrides

app = typer.Typer(help="Make data ready for training.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    # With one command alone, Typer would take the group for it.
    pass


@app.command("prepare")
def prepare(
    source: Annotated[
        str,
        typer.Argument(
            help="A file or folder of rows, `hub:<owner>/<name>`, or a YAML file.",
            metavar="SOURCE|CONFIG",
        ),
    ],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the folder goes; runs/data-<name>-<id> by itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Clean, anonymise, thin out, split and describe dialogues; `rlhf train` takes the folder.

    Example: `rlhf data prepare dialogues.jsonl held_out=0.2 --out data/clinic`
    """
    from rlhf.prepare.pipeline import prepare as run_preparation
    from rlhf.prepare.settings import parse_prepare_config
    from rlhf.progress import progress

    config, base = parse_prepare_config(source, overrides or ())
    with progress("preparing bytes", None) as advance:
        prepared = run_preparation(config, base, out, advance)
    report = prepared.report
    if as_json:
        typer.echo(json.dumps({"folder": str(prepared.folder), **report}, ensure_ascii=False))
    else:
        _tell(prepared.folder, report)
    _judge(prepared.folder, report["rows"], config.max_rejected)


def _tell(folder: Path, report: Mapping[str, Any]) -> None:
    rows, twins = report["rows"], report["twins"]
    made = f" and {rows['synthetic']} made of them" if rows["synthetic"] else ""
    typer.echo(
        f"{folder}: {rows['train']} rows to train on{made}, {rows['held_out']} held out, of "
        f"{rows['read']}; {rows['rejected']} rejected, {twins['exact']} exact and "
        f"{twins['near']} near twins, {twins['leaked_prompts']} leaked"
    )
    for warning in report["coverage"]["warnings"]:
        typer.echo(f"  {warning['line']}")
    typer.echo(f"report {folder / 'report.html'}")


def _judge(folder: Path, rows: Mapping[str, int], most: float) -> None:
    from rlhf.errors import DataError

    if rows["rejected"] > most * rows["read"]:
        raise DataError(
            f"{folder}: {rows['rejected']} of {rows['read']} rows are rejected, more than "
            f"max_rejected={most:g}; see {folder / 'rejected.jsonl'}; the others are ready"
        )
