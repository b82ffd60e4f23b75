"""The grid of an experiment: every mix by every algorithm, all with the same budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_args

from pydantic import Field, model_validator

from rewards import Component
from rlhf.config import Settings
from rlhf.errors import UsageError
from rlhf.evaluation.gate import Guardrail
from rlhf.train import PpoConfig, parse_train_config
from rlhf.training.online.settings import OnlineStage

# What a variant may spend, and on which prompts: the same for all.
_BUDGET = ("base_model", "policy", "data", "updates", "prompts", "samples", "sampling", "runs")


class ExperimentConfig(Settings):
    """`rlhf rewards experiment`: what is varied, and what all variants have in common."""

    name: str = "experiment"
    """The runs' group in the tracker."""
    mixes: dict[str, tuple[Component, ...]] = Field(min_length=1)
    """Rewards by the name of the mix."""
    algorithms: dict[str, dict[str, Any]] = Field(min_length=1)
    """By name: `stage` (`ppo`, `rloo`, `grpo` or `reinforce++`) and whatever else differs."""
    seeds: tuple[int, ...] = Field(default=(42,), min_length=1)
    """Each variant is trained once a seed; where `data.limit` is set, on that seed's rows."""
    train: dict[str, Any]
    """What `rlhf train` takes, without `stage`, `rewards` and `seed`."""
    yardstick: str
    """The mix by whose gain all are compared."""
    measures: tuple[Component, ...] = ()
    """Rewards to measure that no mix trains on."""
    answers: int = Field(default=4, ge=1)
    """Answers to each held-out prompt."""
    guardrails: tuple[Guardrail, ...] = (
        Guardrail(metric="nll", margin=0.5, better="lower"),
        Guardrail(metric="repetition", margin=0.05, better="lower"),
        Guardrail(metric="term_density", margin=0.15, better="lower"),
    )
    """What must not get worse on held-out prompts."""

    @model_validator(mode="after")
    def _yardstick_is_a_mix(self) -> Self:
        if self.yardstick not in self.mixes:
            known = ", ".join(self.mixes)
            raise ValueError(f"yardstick: no mix {self.yardstick!r}; known: {known}")
        return self


@dataclass(frozen=True)
class Variant:
    """One cell of the grid, and the configuration that trains it."""

    mix: str
    algorithm: str
    seed: int
    config: PpoConfig

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.mix} · {self.algorithm} · seed {self.seed}"


def variants(config: ExperimentConfig, where: str) -> list[Variant]:
    """All cells, checked before any is trained. Raises `UsageError`."""
    cells = [
        Variant(mix, algorithm, seed, _train_config(config, mix, algorithm, seed, where))
        for seed in config.seeds
        for algorithm in config.algorithms
        for mix in config.mixes
    ]
    first = cells[0].config
    for cell in cells:
        for key in _BUDGET:
            ours, theirs = getattr(cell.config, key), getattr(first, key)
            if ours != theirs:
                raise UsageError(
                    f"{where}: `algorithms.{cell.algorithm}.{key}` would give {cell.algorithm}"
                    " another budget than the others; set it under `train`"
                )
    return cells


def _train_config(
    config: ExperimentConfig, mix: str, algorithm: str, seed: int, where: str
) -> PpoConfig:
    own = config.algorithms[algorithm]
    for part, given in (("train", config.train), (f"algorithms.{algorithm}", own)):
        for key, varied in (("rewards", "mixes"), ("seed", "seeds")):
            if key in given:
                raise UsageError(f"{where}: `{part}.{key}` is what `{varied}` vary; name it there")
    stage = own.get("stage", config.train.get("stage"))
    if stage not in get_args(OnlineStage):
        known = ", ".join(get_args(OnlineStage))
        raise UsageError(
            f"{where}: `algorithms.{algorithm}.stage` must learn from rewards: {known}; "
            f"found {stage!r}"
        )
    values: Mapping[str, Any] = {
        **config.train,
        **own,
        "rewards": [c.model_dump(exclude_unset=True) for c in config.mixes[mix]],
        "seed": seed,
    }
    parsed = parse_train_config(values, f"{where}: {mix}, {algorithm}")
    assert isinstance(parsed, PpoConfig)
    return parsed
