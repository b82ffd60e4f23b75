"""The stages by their settings: which run folder, which trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rewards import find
from rlhf.files import content_id
from rlhf.policies import Policy
from rlhf.runs import Run, open_run
from rlhf.training.dpo import train_dpo
from rlhf.training.kto import train_kto
from rlhf.training.online.run import train_ppo
from rlhf.training.online.settings import PpoSettings
from rlhf.training.reward_model import train_reward_model
from rlhf.training.settings import AnyStage, DpoSettings, RewardModelSettings, SftSettings
from rlhf.training.sft import train_sft
from rlhf.training.stage import StageInputs


def stage_run(root: Path, settings: AnyStage, inputs: StageInputs) -> Run:
    """The run of these settings on these rows from this policy, begun earlier or new."""
    own = settings.model_dump(mode="json")
    key: dict[str, Any] = {
        "base_model": inputs.model.base_model,
        "dtype": inputs.model.dtype,
        "quantize": inputs.model.quantize,
        "start": inputs.start.id,
        "rows": content_id([list(inputs.train), list(inputs.held_out)], 24),
        "about": dict(inputs.about),
        "settings": own,
    }
    if isinstance(settings, PpoSettings):
        # A reward that was edited is another one under the same name.
        key["rewards"] = [find(c, inputs.base).version for c in settings.rewards]
    name = settings.stage.replace("++", "_pp")  # as stores and file systems take it
    run = open_run(root, name, key, {**inputs.model.model_dump(mode="json"), **own})
    run.begin({**inputs.about, "loop": inputs.group, "base": str(inputs.base or "")})
    return run


def train_stage(run: Run, settings: AnyStage, inputs: StageInputs) -> Policy:
    """Train, or take what the run has saved already."""
    if isinstance(settings, SftSettings):
        return train_sft(run, settings, inputs)
    if isinstance(settings, DpoSettings):
        return train_dpo(run, settings, inputs)
    if isinstance(settings, RewardModelSettings):
        return train_reward_model(run, settings, inputs)
    if isinstance(settings, PpoSettings):
        return train_ppo(run, settings, inputs)
    return train_kto(run, settings, inputs)
