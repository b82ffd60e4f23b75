"""The planted rewards are known while a test runs, and to no other."""

from __future__ import annotations

import planted_mix
import pytest

from rewards import list_rewards, registry


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    list_rewards()  # so that what comes with the project is there for good
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    planted_mix.register()
