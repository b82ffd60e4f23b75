"""The command line in an empty folder, a store, and the samples of foreign files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feedback_store import Store
from rlhf import cli

SAMPLES = Path(__file__).parent / "samples"

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rlhf(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command; gives exit code, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlhf", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), told.out, told.err

    return call


@pytest.fixture
def samples(here: Path) -> Path:
    """The current folder, with a copy of each sample."""
    for path in SAMPLES.iterdir():
        shutil.copy(path, here / path.name)
    return here


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened
