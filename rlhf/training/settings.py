"""What users decide about a training stage; the rest goes through `trainer:` to TRL."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rlhf.config import Settings
from rlhf.policies import LoraSettings
from rlhf.tracking import Tracking
from rlhf.training.online.settings import PpoSettings

DpoLoss = Literal[
    "sigmoid",
    "cdpo",
    "robust",
    "hinge",
    "ipo",
    "sigmoid_norm",
    "exo_pair",
    "nca_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
]


class StageSettings(Settings):
    """Settings that SFT and the policy stages share."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training rows, at most: early stopping may end sooner."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of AdamW."""
    batch_size: int = Field(default=8, ge=1)
    """Rows (or pairs) that the weights move after, together with `gradient_accumulation`."""
    gradient_accumulation: int = Field(default=1, ge=1)
    """So many times more rows before the weights move."""
    tokens_at_once: int = Field(default=2048, ge=1)
    """Tokens in one forward pass: fewer take less memory; what is learned stays the same."""
    max_length: int = Field(default=512, ge=16)
    """Tokens of prompt and answer together; longer rows are cut at the end."""
    seed: int = 42
    """Seeds the adapter, the order of rows and dropout."""
    patience: int = Field(default=3, ge=1)
    """Validations without a better loss before training stops; the best weights are kept."""
    eval_steps: int | None = Field(default=None, ge=1)
    """Steps between validations, which are also checkpoints; once an epoch when left out."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a fifth slower."""
    tracking: Tracking = "wandb"
    """`wandb` (offline when no key is set), `tensorboard` or `none`."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Handed to TRL's config class for this stage, and checked against it before a model loads."""


class SftSettings(StageSettings):
    """Supervised fine-tuning on answers that are known to be good."""

    stage: Literal["sft"] = "sft"
    """Which stage this is."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate of AdamW."""
    lora: LoraSettings | None = LoraSettings()
    """The adapter; `lora: null` trains every weight of the model."""
    adapters: Literal["carried", "stacked"] = "carried"
    """From a policy with a LoRA: it goes on, or it stays as it is and `lora` is put on top."""


class DpoSettings(StageSettings):
    """Direct preference optimisation (Rafailov et al. 2023) on pairs of answers."""

    stage: Literal["dpo"] = "dpo"
    """Which stage this is."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the pairs, at most."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak learning rate of AdamW."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference."""
    loss_type: DpoLoss = "sigmoid"
    """The pair loss, by TRL's name; `cdpo` is DPO with `label_smoothing`."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """For `cdpo`, `robust` and `exo_pair`: the share of pairs whose label may be flipped."""
    lora: LoraSettings | None = LoraSettings()
    """The fresh adapter when the stage starts from a bare base model; else its own goes on."""


class KtoSettings(StageSettings):
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024) on unpaired votes."""

    stage: Literal["kto"] = "kto"
    """Which stage this is."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the votes, at most."""
    batch_size: int = Field(default=8, ge=2)
    """Rows that the weights move after; the KL term needs at least two."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak learning rate of AdamW."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to the reference."""
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto"
    """The loss, by TRL's name."""
    lora: LoraSettings | None = LoraSettings()
    """The fresh adapter when the stage starts from a bare base model; else its own goes on."""


class RewardModelSettings(StageSettings):
    """A scalar score learned from pairs of answers (Bradley and Terry 1952)."""

    stage: Literal["reward_model"] = "reward_model"
    """Which stage this is."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the pairs, at most."""
    max_length: int = Field(default=512, ge=16)
    """Tokens of prompt and answer together; pairs with a longer one are left out."""
    centre: float = Field(default=0.01, ge=0)
    """How strongly the scores of a pair are pulled towards a sum of zero."""
    lora: LoraSettings = LoraSettings()
    """The fresh adapter when the stage starts from a bare base model; else its own goes on."""


TrainerStage = SftSettings | DpoSettings | KtoSettings | RewardModelSettings
"""Stages on one of TRL's trainers."""
AnyStage = TrainerStage | PpoSettings
