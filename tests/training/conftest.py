from __future__ import annotations

from pathlib import Path

import pytest
from examples_of import dialogue

from rlhf.models import ModelSettings
from rlhf.policies import Policy, base_policy
from rlhf.runs import open_run
from rlhf.training.settings import SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs


@pytest.fixture(scope="session")
def settings(tiny_model: Path) -> ModelSettings:
    return ModelSettings(base_model=str(tiny_model), dtype="float32")


@pytest.fixture(scope="session")
def sft_policy(settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy that differs clearly from its base."""
    run = open_run(tmp_path_factory.mktemp("runs"), "sft", {"fixture": 1}, {})
    rows = sft_rows([dialogue(n) for n in range(24)])
    stage = SftSettings(learning_rate=2e-2, epochs=2, tracking="none")
    start = base_policy(settings.base_model)
    return train_sft(run, stage, StageInputs(settings, start, rows, rows[:4], {"parent": None}))
