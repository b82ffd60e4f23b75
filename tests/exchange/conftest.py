"""The command line in an empty folder, a store, and the samples of foreign files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from new_stores import make_store

from feedback_store import Store

SAMPLES = Path(__file__).parent / "samples"

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def samples(here: Path) -> Path:
    """The current folder, with a copy of each sample."""
    for path in SAMPLES.iterdir():
        shutil.copy(path, here / path.name)
    return here


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(make_store(tmp_path / "store.db")) as opened:
        yield opened
