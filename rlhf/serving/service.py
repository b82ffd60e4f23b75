"""What the routes share: made once at the start, read by every request."""

from __future__ import annotations

from dataclasses import dataclass, field

from feedback_store import Store
from rlhf.serving.access import Access
from rlhf.serving.engines import Engine
from rlhf.serving.screening import Screen
from rlhf.serving.settings import ServeConfig
from rlhf.serving.telemetry import Telemetry
from rlhf.serving.traffic import Traffic
from rlhf.serving.vote_tokens import VoteTokens


@dataclass(frozen=True)
class Service:
    """One running service."""

    config: ServeConfig
    store: Store
    engine: Engine
    traffic: Traffic
    access: Access
    tokens: VoteTokens
    screen: Screen
    guidelines: str | None = None
    """Markdown for reviewers, where the settings name a file."""
    telemetry: Telemetry = field(default_factory=Telemetry)
