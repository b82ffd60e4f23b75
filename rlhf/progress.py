"""Bars for long work, on standard error, so that `--json` output stays clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False)

Advance = Callable[..., None]


def _step(done: int, completed: int | None) -> int | None:
    return done if completed is None else None


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    """A bar named `what`; the yielded function takes the work done and, if any, a note."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total, note="")

        def advance(
            done: int = 1,
            *,
            note: str | None = None,
            completed: int | None = None,
            total: int | None = None,
        ) -> None:
            if note is not None:
                bar.update(task, note=note)
            bar.update(task, total=total, completed=completed, advance=_step(done, completed))

        yield advance
