"""The engine that the settings name."""

from __future__ import annotations

from rlhf.serving import settings
from rlhf.serving.engines import Engine
from rlhf.serving.engines.process import LocalEngine, OpenVinoEngine
from rlhf.serving.engines.upstream import UpstreamEngine


def make_engine(config: settings.ServeConfig) -> Engine:
    """Not yet started."""
    match config.engine:
        case settings.UpstreamEngine():
            return UpstreamEngine(config.engine)
        case settings.OpenVinoEngine():
            return OpenVinoEngine(config.model_settings(), config.engine)
        case settings.LocalEngine():
            return LocalEngine(config.model_settings(), config.engine)
