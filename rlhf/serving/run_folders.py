"""Run folders as others left them: named, opened and parsed so that nothing in one does harm.

A folder may be under way, broken, huge, or made to mislead: what can't be read is told in a line
beside the rest. No symlink is followed, no pipe is waited for, no number is taken but a finite one.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
_STAMP: Final = re.compile(r"-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-")
_MOST_JSON: Final = 8_000_000
_MOST_LINE: Final = 1_000_000
_DEEPEST: Final = 12
_MOST_ITEMS: Final = 2_000
_MOST_CHARS: Final = 20_000


class Unreadable(Exception):
    """A file of a run that can't be shown; the text says which one and why."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder, by its name below the runs folder."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def stage(self) -> str:
        """The first part of its name."""
        return self.name.partition("-")[0]

    @property
    def began(self) -> str | None:
        """When it was made, by its name; ISO 8601 in UTC."""
        found = _STAMP.search(self.name)
        return "{}-{}-{}T{}:{}:{}+00:00".format(*found.groups()) if found else None

    def open(self, name: str) -> BinaryIO:
        """A plain file of the folder; raises `FileNotFoundError` and `Unreadable`."""
        flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path / name, flags)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unreadable(f"{name}: can't be read ({error.strerror})") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Unreadable(f"{name}: is no plain file")
        return os.fdopen(descriptor, "rb")

    def text(self, name: str, most: int) -> str | None:
        """A file's text, None where there is none; `Unreadable` for one of over `most` bytes."""
        try:
            with self.open(name) as file:
                data = file.read(most + 1)
        except FileNotFoundError:
            return None
        if len(data) > most:
            raise Unreadable(f"{name}: more than {most:,} bytes, too large to show")
        return data.decode("utf-8", "replace")

    def document(self, name: str) -> dict[str, Any] | None:
        """A JSON object, None where the file is missing; raises `Unreadable`."""
        text = self.text(name, _MOST_JSON)
        if text is None:
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{name}: not JSON") from error
        if not isinstance(value, dict):
            raise Unreadable(f"{name}: no JSON object")
        return value

    def touched(self) -> float:
        """When something in it last changed, in seconds since 1970."""
        latest = 0.0
        with os.scandir(self.path) as entries:
            for entry in entries:
                latest = max(latest, entry.stat(follow_symlinks=False).st_mtime)
        return latest


def run_folder(root: Path, name: str) -> RunFolder | None:
    """The run of this name; None for what is no run's name, is missing, or is a link."""
    path = root / name
    if not NAME.fullmatch(name) or path.is_symlink() or not path.is_dir():
        return None
    config = path / "config.yaml"
    return RunFolder(path) if config.is_file() and not config.is_symlink() else None


def run_folders(root: Path, stage: str | None = None) -> list[RunFolder]:
    """All runs, or a stage's, the last begun first."""
    try:
        names = [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    found = [run_folder(root, name) for name in names]
    runs = [run for run in found if run is not None and stage in (None, run.stage)]
    return sorted(runs, key=lambda run: (run.began or "", run.name), reverse=True)


@dataclass(frozen=True)
class Line:
    """One line of a JSONL file: its object, or what is wrong with it, and where it ends."""

    value: dict[str, Any] | None
    problem: str | None
    end: int


def lines(
    run: RunFolder, name: str, start: int = 0, most_bytes: int = 32_000_000
) -> Iterator[Line]:
    """The whole lines of a file from a byte on; one that is still being written is left for later.

    A missing file has none; raises `Unreadable`.
    """
    try:
        file = run.open(name)
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        at = start
        while at - start < most_bytes and (data := file.readline(_MOST_LINE)):
            at += len(data)
            if data.endswith(b"\n"):
                yield _line(data, at)
                continue
            if len(data) < _MOST_LINE:
                return
            while data and not data.endswith(b"\n"):
                data = file.readline(_MOST_LINE)
                at += len(data)
            yield Line(None, f"longer than {_MOST_LINE:,} bytes", at)


def _line(data: bytes, end: int) -> Line:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return Line(None, "not JSON", end)
    if isinstance(value, dict):
        return Line(value, None, end)
    return Line(None, "no JSON object", end)


def finite(value: object) -> float | None:
    """A number that can be drawn; None for what isn't one, NaN and what no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON that any client can take: cut where it is too deep, too wide or too long."""
    if isinstance(value, str):
        return value if len(value) <= _MOST_CHARS else value[:_MOST_CHARS] + "…"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        number = finite(value)
        return (
            str(value)[:40]
            if number is None
            else value
            if isinstance(value, float)
            else _whole(value)
        )
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        items = list(value.items())[:_MOST_ITEMS]
        return {str(key)[:200]: plain(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value[:_MOST_ITEMS]]
    return str(value)[:_MOST_CHARS]


def _whole(value: int) -> int | str:
    """Beyond 2**53 a browser's numbers lose digits."""
    return value if abs(value) < 2**53 else str(value)
