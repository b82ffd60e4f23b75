"""`rlhf serve`: answers and votes over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlhf.commands.run import Overrides


def serve(
    config: Annotated[
        str | None, typer.Argument(help="A YAML file; without one, defaults.", metavar="[CONFIG]")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Answer chats with the champion and take votes on its answers, until it is stopped.

    Speaks OpenAI's protocol at `/v1`; keeps answers and votes in the store. Off loopback it asks
    for API keys (`rlhf keys create`). Every key of CONFIG can be set as `key=value`.

    Example: `rlhf serve port=8080 engine.kind=openvino`
    """
    from rlhf.config import apply_overrides, load, validate
    from rlhf.serving.server import serve as run
    from rlhf.serving.settings import ServeConfig

    given = [*(overrides or ())]
    if config is not None and "=" in config and not Path(config).exists():
        given, config = [config, *given], None
    if config is None:
        values, where, base = apply_overrides({}, given), "rlhf serve", Path.cwd()
    else:
        values, where = load(Path(config), given), config
        base = Path(config).resolve().parent
    run(validate(ServeConfig, values, where), base)
