"""Commands of the reward laboratory: what a mix would do, and what it did."""

from __future__ import annotations

import json

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
