"""Bars for long work, on standard error, so that `--json` output stays clean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False)

Advance = Callable[..., None]

_LOG_EVERY_S = 15.0


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    """A bar named `what`; the yielded function takes the work done and, if any, a note.

    Where there is no terminal (a log file), a plain line every `_LOG_EVERY_S` seconds.
    """
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
        told = time.monotonic()

        def advance(
            done: int = 1,
            *,
            note: str | None = None,
            completed: int | None = None,
            total: int | None = None,
        ) -> None:
            nonlocal told
            step = done if completed is None else None
            if note is not None:
                bar.update(task, note=note)
            bar.update(task, total=total, completed=completed, advance=step)
            if not console.is_terminal and time.monotonic() - told > _LOG_EVERY_S:
                told = time.monotonic()
                console.print(_plain(bar.tasks[0]), markup=False)

        yield advance


def _plain(task: Task) -> str:
    of = "" if task.total is None else f"/{task.total:.0f}"
    return f"  {task.description} {task.completed:.0f}{of} {task.fields['note']}".rstrip()
