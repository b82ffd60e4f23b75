"""A store with a clock that tests turn, running services, policies over the tiny model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from http_service import Served, config_of, serving
from reciting import Reciting

from feedback_store import Store
from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.policies import LoraSettings, Policy, add_lora, save_policy
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
    with Store.open(tmp_path / "store.db", clock=clock) as opened:
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


@pytest.fixture(scope="session")
def make_policy(
    tiny_settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Policy]:
    """A policy with a random update that is not zero; `full` has weights of its own."""

    def make(seed: int, *modules: str, full: bool = False) -> Policy:
        model, tokenizer = load_base(tiny_settings), load_tokenizer(tiny_settings)
        if not full:
            lora = LoraSettings(r=2 + seed, alpha=8, target_modules=modules or ("q_proj", "v_proj"))
            model = add_lora(model, lora, seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if full or "lora_B" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        folder = tmp_path_factory.mktemp("policies") / f"p{seed}"
        base = tiny_settings.base_model
        return save_policy(model, tokenizer, folder, base_model=base, about={})

    return make
