"""A store with a clock that tests turn, running services, policies over the tiny model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from http_service import Served, config_of, serving
from new_stores import make_store
from reciting import Reciting

from feedback_store import Store
from rlhf.models import ModelSettings
from rlhf.serving.engines import Engine


class Clock:
    """A moment that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with Store.open(make_store(tmp_path / "store.db"), clock=clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def reciting_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without keys, whose engine says what it is told to."""
    folder = tmp_path_factory.mktemp("reciting")
    with serving(config_of(tiny_model, folder), Reciting(), folder) as served:
        yield served


@pytest.fixture
def serve(tiny_model: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Served]]:
    """A server of a test's own: `with serve(engine?, **settings) as served`."""

    def start(
        engine: Engine | None = None, *, keys: bool = False, **values: Any
    ) -> AbstractContextManager[Served]:
        config = config_of(tiny_model, tmp_path, **values)
        return serving(config, engine or Reciting(), tmp_path, open_without_keys=not keys)

    return start


@pytest.fixture(scope="session")
def tiny_settings(tiny_model: Path) -> ModelSettings:
    return ModelSettings(base_model=str(tiny_model), dtype="float32")
