"""`rlhf train CONFIG`: one stage alone, from a file of dialogues or a snapshot, with its proof.

See `rlhf.proof` for what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, field_validator

from feedback_store import Store, load_snapshot
from rewards import Component
from rlhf.config import Settings, existing_path, validate
from rlhf.data.records import Record, read_records, split, take
from rlhf.errors import StepFailed, UsageError
from rlhf.evaluation.gate import GateSettings, Guardrail
from rlhf.files import sha256_file
from rlhf.models import ModelSettings
from rlhf.policies import Policy, base_policy, read_policy, verify_policy
from rlhf.proof import Proof, once, prove, prove_rewards, report_stopped
from rlhf.release import find, register
from rlhf.runs import Run, trainer_lock
from rlhf.training.online.settings import OnlineStage, PpoSettings
from rlhf.training.rows import snapshot_records, training_rows, unpaired
from rlhf.training.settings import (
    AnyStage,
    DpoSettings,
    KtoSettings,
    RewardModelSettings,
    SftSettings,
)
from rlhf.training.stage import StageInputs
from rlhf.training.stages import stage_run, train_stage


class DataSettings(Settings):
    """Which rows a stage learns from."""

    path: Path
    """A JSON or JSONL file, or a snapshot's folder."""
    limit: int | None = Field(default=None, ge=1)
    """Rows used, drawn by seed; all when left out."""
    style: str | None = None
    """Ask every prompt in this style, whatever its row says."""
    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the conversations kept for validation; a snapshot brings its own."""


class TrainInputs(ModelSettings):
    """What every `rlhf train` needs beside the stage's own settings."""

    data: DataSettings
    """Which rows."""
    policy: str | None = None
    """The policy to start from: a folder, or an id in `store`; the base model when left out."""
    runs: Path = Path("runs")
    """Where run folders go."""
    store: str | None = None
    """A feedback store in which the new policy is registered."""


class SftConfig(SftSettings, TrainInputs):
    """`stage: sft`"""


class DpoConfig(DpoSettings, TrainInputs):
    """`stage: dpo`"""


class KtoConfig(KtoSettings, TrainInputs):
    """`stage: kto`"""


class RewardModelConfig(RewardModelSettings, TrainInputs):
    """`stage: reward_model`"""


class PpoConfig(PpoSettings, TrainInputs):
    """`stage: ppo`, `rloo`, `grpo` or `reinforce++`"""

    gate: GateSettings = GateSettings(
        guardrails=(
            Guardrail(metric="reference_nll", margin=0.5, better="lower"),
            Guardrail(metric="repetition", margin=0.05, better="lower"),
            Guardrail(metric="term_density", margin=0.15, better="lower"),
        )
    )
    """Bounds that answers to held-out prompts must stay in; the report tells them."""

    @field_validator("rewards")
    @classmethod
    def _has_rewards(cls, rewards: tuple[Component, ...]) -> tuple[Component, ...]:
        if not rewards:
            raise ValueError("name at least one reward")
        return rewards


TrainConfig = SftConfig | DpoConfig | KtoConfig | RewardModelConfig | PpoConfig
_STAGES: dict[str, tuple[type[TrainConfig], type[AnyStage]]] = {
    "sft": (SftConfig, SftSettings),
    "dpo": (DpoConfig, DpoSettings),
    "kto": (KtoConfig, KtoSettings),
    "reward_model": (RewardModelConfig, RewardModelSettings),
    **dict.fromkeys(get_args(OnlineStage), (PpoConfig, PpoSettings)),
}


@dataclass(frozen=True)
class Trained:
    """The new policy and what it was measured to do."""

    policy: Policy
    run: Run
    proof: Mapping[str, Any]


def parse_train_config(values: Mapping[str, Any], where: str) -> TrainConfig:
    """The settings of the stage that `stage:` names."""
    stage = values.get("stage")
    if stage not in _STAGES:
        known = ", ".join(_STAGES)
        raise UsageError(f"{where}: `stage` must be one of {known}, found {stage!r}")
    return validate(_STAGES[stage][0], values, where)


def stage_settings(config: TrainConfig) -> AnyStage:
    """The stage's own part of a configuration."""
    _, kind = _STAGES[config.stage]
    return kind(**{key: getattr(config, key) for key in kind.model_fields})


def train(config: TrainConfig, base: Path, group: str = "train") -> Trained:
    """Run one stage to its end; `base` is the folder of the configuration file.

    Runs of one `group` stand together in the tracker.
    """
    settings = stage_settings(config)
    model = model_settings(config)
    path = existing_path(config.data.path, base)
    records, held_out, snapshot = load_records(path, config)
    if config.data.style is not None:
        records, held_out = (
            [replace(r, style=config.data.style) for r in part] for part in (records, held_out)
        )
    rows, validation = training_rows(settings, records)
    start = starting_policy(config, base)
    data = snapshot or sha256_file(path)
    about = {"parent": start.id, "snapshot": snapshot, "data": data}
    inputs = StageInputs(model, start, rows, validation, about, group, base)
    with trainer_lock(config.runs):
        run = stage_run(config.runs, settings, inputs)
        policy = _trained(run, settings, inputs)
        proof = once(run, lambda: _prove(config, settings, run, start, policy, held_out, base))
    if config.store is not None:
        with Store.open(config.store) as store:
            register(store, start)
            register(store, policy)
    return Trained(policy, run, proof)


def _trained(run: Run, settings: AnyStage, inputs: StageInputs) -> Policy:
    """A run that an alarm stopped still shows its curves."""
    try:
        return train_stage(run, settings, inputs)
    except StepFailed as error:
        if isinstance(settings, PpoSettings):
            report_stopped(run, settings, str(error))
        raise


def _prove(
    config: TrainConfig,
    settings: AnyStage,
    run: Run,
    start: Policy,
    policy: Policy,
    held_out: Sequence[Record],
    base: Path,
) -> Proof:
    model = model_settings(config)
    if isinstance(settings, PpoSettings) and isinstance(config, PpoConfig):
        gate = config.gate
        return prove_rewards(run, settings, model, start, policy, held_out, gate, base)
    return prove(model, start, policy, held_out)


def model_settings(config: TrainInputs) -> ModelSettings:
    """The base model's part of a configuration."""
    return ModelSettings(**{k: getattr(config, k) for k in ModelSettings.model_fields})


def load_records(path: Path, config: TrainConfig) -> tuple[list[Record], list[Record], str | None]:
    """Records to train on and to prove it on, and the snapshot that they come from."""
    if path.is_dir():
        manifest = load_snapshot(path)
        train, held_out = (snapshot_records(path, config.stage, aside) for aside in (False, True))
        return train, held_out, manifest.id
    online = isinstance(config, PpoConfig)
    records = take(read_records(path, answered=not online), config.data.limit, config.seed)
    if config.stage == "kto":
        records = unpaired(records)
    train_records, held_out = split(records, config.data.held_out)
    return train_records, held_out, None


def starting_policy(config: TrainInputs, base: Path) -> Policy:
    """The policy that the configuration names, or the bare base model."""
    if config.policy is None:
        return base_policy(config.base_model)
    folder = Path(config.policy)
    found = next((p for p in (base / folder, folder) if (p / "policy.json").exists()), None)
    if found is not None:
        policy = read_policy(found)
    elif config.store is not None:
        with Store.open(config.store) as store:
            policy = find(store, config.policy)
    else:
        raise UsageError(f"policy: {config.policy} is no policy's folder; for an id name `store`")
    if policy.base_model != config.base_model:
        raise UsageError(
            f"policy: {policy.id} was trained on {policy.base_model}, not on {config.base_model}"
        )
    verify_policy(policy)
    return policy
