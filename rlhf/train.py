"""`rlhf train CONFIG`: one stage alone, from a file of dialogues or a snapshot, with its proof.

See `rlhf.proof` for what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, field_validator

from feedback_store import Store
from rewards import Component
from rlhf.config import existing_path, validate
from rlhf.curriculum.settings import StagedConfig
from rlhf.curriculum.train import train_curriculum
from rlhf.data.records import Record
from rlhf.errors import StepFailed, UsageError
from rlhf.evaluation.gate import GateSettings, Guardrail
from rlhf.folds import cross_fit
from rlhf.learned import read_learned, write_learned
from rlhf.policies import Policy
from rlhf.proof import Proof, once, prove, prove_rewards, report_stopped
from rlhf.release import register
from rlhf.runs import Run, trainer_lock
from rlhf.train_inputs import DataSettings, RunInputs, data_hash, load_records, starting_policy
from rlhf.training.online.settings import OnlineStage, PpoSettings
from rlhf.training.rows import training_rows
from rlhf.training.settings import (
    AnyStage,
    DpoSettings,
    KtoSettings,
    RewardModelSettings,
    SftSettings,
)
from rlhf.training.stage import StageInputs
from rlhf.training.stages import stage_run, train_stage


class _TrainInputs(RunInputs):
    """What every `rlhf train` needs beside the stage's own settings."""

    data: DataSettings
    """Which rows."""


class SftConfig(SftSettings, _TrainInputs):
    """`stage: sft`"""


class DpoConfig(DpoSettings, _TrainInputs):
    """`stage: dpo`"""


class KtoConfig(KtoSettings, _TrainInputs):
    """`stage: kto`"""


class RewardModelConfig(RewardModelSettings, _TrainInputs):
    """`stage: reward_model`"""

    folds: int | None = Field(default=None, ge=2, le=20)
    """Train so many models more, each without one part of the pairs, and keep what they make of it:

    `rlhf rewards fit` then learns a mix's weights from all pairs."""


class PpoConfig(PpoSettings, _TrainInputs):
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


def parse_train_config(values: Mapping[str, Any], where: str) -> TrainConfig | StagedConfig:
    """The settings of the stage that `stage:` names."""
    stage = values.get("stage")
    if stage == "staged":
        return validate(StagedConfig, values, where)
    if stage not in _STAGES:
        known = ", ".join([*_STAGES, "staged"])
        raise UsageError(f"{where}: `stage` must be one of {known}, found {stage!r}")
    return validate(_STAGES[stage][0], values, where)


def stage_settings(config: TrainConfig) -> AnyStage:
    """The stage's own part of a configuration."""
    _, kind = _STAGES[config.stage]
    return kind(**{key: getattr(config, key) for key in kind.model_fields})


def train(config: TrainConfig | StagedConfig, base: Path, group: str = "train") -> Trained:
    """Run a stage, or several, to the end; `base` is the folder of the configuration file.

    A stage's runs of one `group` stand together in the tracker.
    """
    if isinstance(config, StagedConfig):
        return Trained(*train_curriculum(config, base))
    settings = stage_settings(config)
    model = config.model_settings()
    path = existing_path(config.data.path, base)
    records, held_out, snapshot = load_records(path, config.data, config.stage, config.seed)
    rows, validation = training_rows(settings, records)
    start = starting_policy(config, base)
    data = snapshot or data_hash(path)
    about = {"parent": start.id, "snapshot": snapshot, "data": data}
    inputs = StageInputs(model, start, rows, validation, about, group, base)
    with trainer_lock(config.runs):
        run = stage_run(config.runs, settings, inputs)
        policy = _trained(run, settings, inputs)
        proof = once(run, lambda: _prove(config, settings, run, start, policy, held_out, base))
        if isinstance(config, RewardModelConfig):
            _keep_learned(config, run, inputs, policy, records)
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


def _keep_learned(
    config: RewardModelConfig,
    run: Run,
    inputs: StageInputs,
    policy: Policy,
    records: Sequence[Record],
) -> None:
    """What the model has learned, with scores by models that have not where `folds` are asked."""
    assert policy.folder is not None
    pairs = [r for r in records if r.shape == "preference"]
    known = read_learned(policy.folder)
    if config.folds is None:
        if known is None:
            write_learned(policy, pairs, {})
    elif known is None or None in known.values():
        settings = stage_settings(config)
        assert isinstance(settings, RewardModelSettings)
        write_learned(policy, pairs, cross_fit(run, settings, inputs, pairs, config.folds))


def _prove(
    config: TrainConfig,
    settings: AnyStage,
    run: Run,
    start: Policy,
    policy: Policy,
    held_out: Sequence[Record],
    base: Path,
) -> Proof:
    model = config.model_settings()
    if isinstance(settings, PpoSettings) and isinstance(config, PpoConfig):
        gate = config.gate
        return prove_rewards(run, settings, model, start, policy, held_out, gate, base)
    return prove(model, start, policy, held_out)
