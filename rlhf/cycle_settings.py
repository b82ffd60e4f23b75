"""The loop's configuration: what `rlhf loop CONFIG` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from feedback_store import SnapshotRules
from rlhf.config import existing_path
from rlhf.evaluation.evaluate import EvaluationSettings
from rlhf.evaluation.gate import GateSettings
from rlhf.models import ModelSettings
from rlhf.simulate import SimulateSettings
from rlhf.training.online.settings import PpoSettings
from rlhf.training.settings import DpoSettings, KtoSettings, RewardModelSettings, SftSettings


class LoopConfig(ModelSettings):
    """One loop: where its dialogues and votes are, how it trains, and what a release must prove."""

    name: str = "loop"
    """Names the loop; its cycles are counted under this name."""
    project: str = Field(default="default", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Interactions, votes and releases of one product stand under one project."""
    store: str = "runs/feedback.db"
    """The feedback store: an SQLite file or a database URL."""
    runs: Path = Path("runs")
    """Where run folders go."""
    dialogues: tuple[Path, ...] = Field(min_length=1)
    """Files of dialogues for SFT; their held-out part is what evaluation asks."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the conversations that never train, in dialogues and votes alike."""
    sft: SftSettings = SftSettings()
    """The first stage, and the first stage of each rebuild."""
    stages: tuple[
        Annotated[DpoSettings | KtoSettings | PpoSettings, Field(discriminator="stage")], ...
    ] = Field(default=(DpoSettings(),), min_length=1)
    """Policy stages of a cycle, in order; each starts from the one before it."""
    reward_model: RewardModelSettings | None = None
    """Trained on each snapshot's pairs before a stage that learns from rewards, as one of them."""
    reward_model_weight: float = Field(default=1.0, allow_inf_nan=False)
    """Its weight beside the stage's own rewards."""
    start: Literal["champion", "rebuild"] = "champion"
    """A cycle goes on from the champion, or rebuilds an SFT policy from the same snapshot."""
    simulate: SimulateSettings | None = None
    """Stand-in users, for trying the loop; leave out to wait for people's votes."""
    min_votes: int = Field(default=50, ge=1)
    """New votes that a cycle needs."""
    watch_hours: float | None = Field(default=None, gt=0)
    """With --watch: start after this long even with fewer votes, if there is one."""
    watch_poll_s: float = Field(default=10.0, gt=0)
    """With --watch: seconds between looks at the store."""
    snapshot: SnapshotRules = SnapshotRules()
    """How votes become training rows; `project` and `held_out` are the loop's own."""
    evaluation: EvaluationSettings
    """What is measured on the held-out prompts, and who judges."""
    gate: GateSettings = GateSettings()
    """What a candidate must prove before users see it."""
    frozen: bool = False
    """True stops promotions: candidates are trained, measured and kept."""
    webhook: str | None = Field(default=None, pattern=r"^https?://")
    """Told of each promotion, refusal and failure by a JSON POST."""

    @model_validator(mode="after")
    def _has_rewards(self) -> Self:
        for stage in self.stages:
            if isinstance(stage, PpoSettings) and not (stage.rewards or self.reward_model):
                raise ValueError(f"stages: {stage.stage} needs `rewards`, or set `reward_model`")
        return self

    def model_settings(self) -> ModelSettings:
        """The part that says which base model and how it is held."""
        return ModelSettings(**{k: getattr(self, k) for k in ModelSettings.model_fields})

    def snapshot_rules(self) -> SnapshotRules:
        """The snapshot's rules with the loop's project, and its held-out conversations."""
        own = {"project": self.project, "held_out": self.held_out, "salt": SnapshotRules().salt}
        return self.snapshot.model_copy(update=own)

    def dialogue_paths(self, base: Path) -> list[Path]:
        """The dialogue files; raises `UsageError` for one that is missing."""
        return [existing_path(path, base) for path in self.dialogues]
