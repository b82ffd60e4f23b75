from __future__ import annotations

import pytest
from letters import save_model

from rlhf.models import ModelSettings


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    """A random model whose answers are letters, in float32."""
    return save_model(tmp_path_factory.mktemp("letters"))
