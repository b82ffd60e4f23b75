"""Stores that are empty, copied from one: making its tables anew takes as long as a small test."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from feedback_store import Store


@cache
def empty_store() -> Path:
    """A folder with an empty `s.db` and its key, once a process."""
    folder = Path(tempfile.mkdtemp(prefix="empty-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Store.open(folder / "s.db").close()
    return folder


def make_store(path: Path) -> Path:
    """An empty store at this place, unless something is there."""
    if not path.exists() and not (key := path.with_name(f"{path.name}.key")).exists():
        shutil.copy(empty_store() / "s.db.key", key)
        shutil.copy(empty_store() / "s.db", path)
    return path
