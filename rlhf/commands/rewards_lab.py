"""Commands of the reward laboratory: what a mix would do, and what it did."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlhf.commands.run import AsJson, Config, Overrides


def preview(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Which answers each mix of rewards would favour, and what else that changes, untrained.

    Example: `rlhf rewards preview configs/preview.yaml samples=4`
    """
    from rlhf.config import load, validate
    from rlhf.lab.preview import PreviewConfig, save
    from rlhf.lab.preview import preview as look
    from rlhf.lab.preview_page import write_page

    settings = validate(PreviewConfig, load(config, overrides or ()), str(config))
    found = look(settings, config.resolve().parent)
    written = save(found)
    page = written.with_suffix(".html")
    write_page(page, found)
    if as_json:
        told = {**found.document(), "json": str(written), "report": str(page)}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    for place, name in enumerate(found.order, 1):
        typer.echo(f"{place}. {name}")
    typer.echo(f"report {page}")


def experiment(
    grid: Annotated[Path, typer.Argument(help="A YAML file.", metavar="GRID")],
    overrides: Overrides = None,
    preview: Annotated[
        Path | None,
        typer.Option(help="A preview's JSON: how well did it foretell the order of the mixes?"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train mixes of rewards by several algorithms on equal budgets, and compare them.

    Example: `rlhf rewards experiment configs/experiment.yaml`
    """
    from rlhf.config import load, validate
    from rlhf.lab.experiment import run_experiment
    from rlhf.lab.experiment_page import write_page
    from rlhf.lab.foretold import compare, predicted_gains
    from rlhf.lab.grid import ExperimentConfig

    settings = validate(ExperimentConfig, load(grid, overrides or ()), str(grid))
    predicted = None if preview is None else predicted_gains(preview)
    done = run_experiment(settings, grid.resolve().parent, str(grid))
    told = None if predicted is None else compare(predicted, done.outcomes)
    page = done.run.folder / "report.html"
    write_page(page, done, told)
    if as_json:
        document = {**done.document(), "foretold": told and asdict(told), "report": str(page)}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    for outcome in sorted(done.outcomes, key=lambda o: -o.gain):
        broken = " (breaks a guardrail)" if outcome.broken else ""
        typer.echo(f"{outcome.gain:+.3f} at KL {outcome.distance:.2f}: {outcome.name}{broken}")
    for name, reason in done.stopped.items():
        typer.echo(f"stopped: {name}: {reason}")
    if told is not None and told.tau is not None:
        typer.echo(
            f"the preview foretold the order of {len(told.predicted)} mixes: tau {told.tau:.2f}"
        )
    typer.echo(f"report {page}")
