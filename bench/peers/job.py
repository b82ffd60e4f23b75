"""What a side of `bench.ppo` is asked to train, and what it answers.

Read by two Pythons, of which one has nothing of this project installed: so it needs no package.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Rewarded:
    """What an answer is worth: a model's score, in the form that each side reads, or a rule's."""

    policy: str | None = None
    """The folder that this project's `reward_model` scores with."""
    merged: str | None = None
    """The same as one whole model with a scalar head."""
    rule: dict[str, Any] | None = None
    """A reward of the package `rewards`, as a configuration writes it."""


@dataclass(frozen=True)
class Probe:
    """Token ids, and what the base and the reward model say of them on this project's side.

    Two versions of a library may read one `config.json` differently and say nothing.
    """

    ids: list[int]
    logprob: float
    """Mean log p of the tokens but the first."""
    score: float | None


@dataclass(frozen=True)
class PeerSetting:
    """What only the peer has to choose."""

    at_once: int = 16
    """Answers in one forward and backward pass; the batch stays the same."""
    mixed: bool = False
    """bfloat16 by autocast, with float32 where torch thinks better; else the weights' own."""
    value: Literal["whole", "head"] = "whole"
    """What of the value model is trained."""
    value_dtype: Dtype | None = None
    """The numbers of the value model; None: the policy's."""
    value_learning_rate: float | None = None
    """Of the value model, in an optimiser that the trainer is given; None: the policy's."""


@dataclass(frozen=True)
class PpoJob:
    """One training, the same for both sides."""

    base: str
    """The base model's folder."""
    prompts: list[str]
    prompt_ids: list[list[int]]
    """The same by the chat template; the peer takes them as they are."""
    pad: int
    eos: int
    reward: Rewarded
    probe: Probe
    dtype: Dtype
    """The numbers of both sides' models: those that this machine multiplies quickest."""
    updates: int
    ends: bool
    """Without it no token ends an answer, so that all are of `new_tokens`."""
    seed: int = 42
    batch: int = 16
    new_tokens: int = 48
    epochs: int = 4
    temperature: float = 1.0
    learning_rate: float = 2e-4
    kl: float = 0.05
    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    lora_r: int = 16
    lora_alpha: int = 32
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    peer: PeerSetting = PeerSetting()

    def write(self, path: Path) -> Path:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path


def read_job(path: Path) -> PpoJob:
    """As `PpoJob.write` wrote it."""
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    told["reward"] = Rewarded(**told["reward"])
    told["probe"] = Probe(**told["probe"])
    told["peer"] = PeerSetting(**told["peer"])
    told["lora_targets"] = tuple(told["lora_targets"])
    return PpoJob(**told)


@dataclass(frozen=True)
class Trained:
    """What a side found."""

    seconds: float
    """From building the trainer to the end of training: imports and loading are left out."""
    gigabytes: float
    """The most memory that the process held."""
    episodes: int
    curve: list[dict[str, float]]
    """One batch a row: `episodes` so far, mean `reward`, `kl` in nats an answer."""
