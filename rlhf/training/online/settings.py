"""What users decide about learning from rewards on the policy's own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from rewards import Component
from rewards.totals import Normalise
from rlhf.config import Settings
from rlhf.policies import LoraSettings
from rlhf.sampling import Sampling
from rlhf.tracking import Tracking


class KlSettings(Settings):
    """How the policy is held to the reference, the policy that the stage starts from."""

    coefficient: float = Field(default=0.05, ge=0)
    """Rewards that a nat of KL costs (beta); where it starts when `target` is set."""
    target: float | None = Field(default=None, gt=0)
    """Nats a response that the coefficient is steered to (Ziegler et al. 2019)."""
    horizon: int = Field(default=10_000, ge=1)
    """Answers in which a coefficient that is far too small or too large moves by a fifth, about."""
    estimator: Literal["k1", "k3"] | None = None
    """k1 = log p/q, k3 = q/p - 1 + log p/q (Schulman 2020). Left out: k1, in the loss k3."""
    place: Literal["reward", "loss"] | None = None
    """Taken off each token's reward, or added to the loss. Left out: the loss for `grpo` alone."""


class VllmSettings(Settings):
    """A vLLM server that answers in the policy's stead; see `rlhf.vllm` for how to start it."""

    url: str
    """Its base address, such as http://localhost:8000/v1."""
    adapters: Path
    """A folder that this process and the server see at the same path."""
    base_name: str
    """The name that the server has for the base model."""
    api_key_env: str | None = None
    """The environment variable that holds the server's key."""


class AlarmSettings(Settings):
    """What stops a run before it spoils the policy; null turns an alarm off."""

    kl: float | None = Field(default=20.0, gt=0)
    """Nats a response between policy and reference."""
    entropy: float | None = Field(default=0.3, gt=0, lt=1)
    """The entropy's share of what it was at the start."""
    length: float | None = Field(default=1.5, gt=1)
    """How many times as long answers may get as at the start, beyond noise."""
    shortness: float | None = Field(default=3.0, gt=1)
    """How many times as short; an untrained policy often says too much."""
    unfinished: float | None = Field(default=0.3, gt=0, lt=1)
    """By how much the share of answers that a limit cut off may grow."""
    domination: float | None = Field(default=0.5, gt=0)
    """One reward gains, and the others together lose this share of its gain."""
    invalid: float | None = Field(default=0.1, gt=0, le=1)
    """Share of an update's answers that a reward failed on."""
    constant: float | None = Field(default=0.4, gt=0, le=1)
    """Share of answers that a reward of continuous scores gives one and the same."""
    held_out: bool | None = True
    """The reward falls on held-out prompts while it rises on those that are trained."""


OnlineStage = Literal["ppo", "rloo", "grpo", "reinforce++"]


class PpoSettings(Settings):
    """Policy gradients on rewards of the policy's own answers.

    `ppo` (Schulman et al. 2017) learns a value of each token beside the policy; the others compare
    answers: `rloo` (Ahmadian et al. 2024), `grpo` (Shao et al. 2024), `reinforce++` (Hu 2025).
    """

    stage: OnlineStage = "ppo"
    """Which advantage estimator."""
    rewards: tuple[Component, ...] = ()
    """What an answer is worth: names, weights and parameters."""
    normalise: Normalise = "sum"
    """How components become one number: `sum`, `mean`, or `zscore` over an update's answers."""
    veto_score: float = Field(default=-1.0, allow_inf_nan=False)
    """The reward of an answer that a veto stops."""
    reward_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that a reward which does not come with this project may take for an update."""
    updates: int = Field(default=50, ge=1)
    """Rounds of answers, rewards and training."""
    prompts: int = Field(default=16, ge=1)
    """Prompts of a round."""
    samples: int = Field(default=4, ge=1)
    """Answers drawn for each of them; `rloo` and `grpo` compare at least two."""
    vllm: VllmSettings | None = None
    """Who answers; this process when left out."""
    sampling: Sampling = Sampling(max_new_tokens=64, batch_size=64)
    """How they are drawn; `top_p` stays 1, since what is cut off could never be learned about."""
    max_prompt: int = Field(default=512, ge=1)
    """Tokens of a prompt; longer ones are left out."""
    epochs: int = Field(default=2, ge=1)
    """Passes over a round's answers."""
    minibatches: int = Field(default=2, ge=1)
    """Steps of a pass."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Of AdamW, for the adapter."""
    value_learning_rate: float = Field(default=1e-3, gt=0)
    """Of AdamW, for the value head of `ppo`."""
    clip: float = Field(default=0.2, gt=0)
    """A token's probability ratio counts up to 1 ± this."""
    value_clip: float = Field(default=0.2, gt=0)
    """A value moves by at most this in one round."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount of later rewards, a token."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """Of generalised advantage estimation: 1 trusts rewards, 0 the values."""
    entropy: float = Field(default=0.0, ge=0)
    """Bonus on the entropy of each token's distribution."""
    kl: KlSettings = KlSettings()
    """The distance to the reference."""
    target_kl: float | None = Field(default=0.05, gt=0)
    """Nats a token from the policy that answered, above which a round's training ends early."""
    whiten_rewards: bool = True
    """Centre and scale rewards by their running mean and deviation."""
    reward_clip: float | None = Field(default=5.0, gt=0)
    """Bound on the absolute reward of an answer, after whitening."""
    missing_eos_penalty: float = Field(default=0.0, ge=0)
    """Taken off the reward of an answer that did not come to its end."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longer gradients are shortened to this."""
    held_out_every: int = Field(default=10, ge=1)
    """Rounds between looks at the held-out prompts."""
    held_out_prompts: int = Field(default=32, ge=1)
    """Held-out prompts that are looked at."""
    save_every: int = Field(default=5, ge=1)
    """Rounds between checkpoints."""
    alarms: AlarmSettings = AlarmSettings()
    """What stops the run."""
    tokens_at_once: int = Field(default=2048, ge=1)
    """Tokens in one forward pass: fewer take less memory; what is learned stays the same."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a fifth slower."""
    lora: LoraSettings = LoraSettings(dropout=0.0)
    """The fresh adapter when the stage starts from a bare base model; else its own goes on."""
    seed: int = 42
    """Seeds the adapter, the prompts' order, the answers and the minibatches."""
    tracking: Tracking = "wandb"
    """`wandb` (offline when no key is set), `tensorboard` or `none`."""

    @field_validator("sampling")
    @classmethod
    def _draws_freely(cls, sampling: Sampling) -> Sampling:
        if sampling.top_p < 1 or sampling.temperature == 0:
            raise ValueError("PPO draws from the whole distribution: top_p 1, temperature above 0")
        return sampling

    @model_validator(mode="after")
    def _fits_the_estimator(self) -> Self:
        if self.stage in ("rloo", "grpo") and self.samples < 2:
            raise ValueError(f"{self.stage} compares answers to one prompt: samples at least 2")
        if self.kl_place == "loss" and self.kl.estimator == "k1":
            raise ValueError("kl.estimator: k1 has no gradient in the loss on average; use k3")
        answers = self.prompts * self.samples
        if self.kl.target is not None and self.kl.horizon < answers:
            raise ValueError(f"kl.horizon: {self.kl.horizon} is under a round's {answers} answers")
        if self.minibatches > self.prompts:
            raise ValueError(f"minibatches: {self.minibatches} of {self.prompts} prompts")
        return self

    @property
    def kl_place(self) -> Literal["reward", "loss"]:
        """Where the KL penalty goes."""
        return self.kl.place or ("loss" if self.stage == "grpo" else "reward")

    @property
    def kl_estimator(self) -> Literal["k1", "k3"]:
        """How it is estimated."""
        return self.kl.estimator or ("k3" if self.kl_place == "loss" else "k1")
