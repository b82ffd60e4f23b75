"""The engine that the settings name."""

from __future__ import annotations

from rlhf.serving.engines import Engine
from rlhf.serving.engines.process import LocalEngine
from rlhf.serving.settings import ServeConfig


def make_engine(config: ServeConfig) -> Engine:
    """Not yet started."""
    return LocalEngine(config.model_settings(), config.engine)
