"""What each mix of rewards would favour, and what else that would change, before any training.

The policy answers every prompt n times, once. A mix's best of n is the policy that the mix asks
for, at a known distance from this one; where training goes further it goes, at first, the same way
(Gao et al. 2023 compare the two).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from rewards import Component
from rewards.totals import Normalise
from rlhf.config import existing_path
from rlhf.errors import DataError
from rlhf.evaluation.estimate import Estimate
from rlhf.files import content_id, write_json
from rlhf.lab.answers import Answers, Asked, answers_of
from rlhf.lab.best_of import Floats, change, kl_bound, sizes
from rlhf.lab.measures import Combining, Measured, Parts, measure_answers, parts_of
from rlhf.sampling import Sampling
from rlhf.train_inputs import DataSettings, RunInputs, load_records, starting_policy
from rlhf.training.online.rollouts import prompt_rows


class PreviewConfig(RunInputs):
    """`rlhf rewards preview`: `data`, `policy` and `base_model` as `rlhf train` has them."""

    data: DataSettings
    """Which prompts: those that training would take."""
    mixes: dict[str, tuple[Component, ...]] = Field(min_length=1)
    """Rewards by the name of the mix."""
    yardstick: str | None = None
    """The mix by whose gain all are compared; the first when left out."""
    samples: int = Field(default=8, ge=2, le=256)
    """Answers drawn for each prompt: the n of best-of-n."""
    sampling: Sampling = Sampling(max_new_tokens=64, batch_size=64)
    """How they are drawn; as training will draw them."""
    normalise: Normalise = "sum"
    """How components become one number, as `rlhf train` has it."""
    veto_score: float = Field(default=-1.0, allow_inf_nan=False)
    """The reward of an answer that a veto stops."""
    reward_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that a reward which does not come with this project may take for all answers."""
    seed: int = 42
    """Seeds the choice of prompts and the answers."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for name, mix in self.mixes.items():
            if not mix:
                raise ValueError(f"mixes.{name}: name at least one reward")
        if self.yardstick is not None and self.yardstick not in self.mixes:
            raise ValueError(
                f"yardstick: no mix {self.yardstick!r}; known: {', '.join(self.mixes)}"
            )
        return self

    @property
    def measured_by(self) -> str:
        """The yardstick's name."""
        return self.yardstick or next(iter(self.mixes))

    @property
    def combining(self) -> Combining:
        """How components become one number."""
        return Combining(self.normalise, self.veto_score)


@dataclass(frozen=True)
class Point:
    """The best of k by one mix: how far from the policy at most, and how every measure changes."""

    k: int
    kl_bound: float
    changes: Mapping[str, Estimate | None]
    """By measure; `total` is the mix's own reward, `yardstick` the common one."""


@dataclass(frozen=True)
class Preview:
    """All that a preview tells, and what its page draws it from."""

    config: PreviewConfig
    answers: Answers
    parts: Parts
    measured: Measured
    rewards: Mapping[str, Floats]
    """Each mix's reward of each answer."""
    curves: Mapping[str, tuple[Point, ...]]
    alone: Mapping[str, Point]
    """The best of n by each reward alone, by its label."""

    @property
    def order(self) -> list[str]:
        """The mixes, the one that promises most by the yardstick first."""
        return sorted(self.curves, key=lambda name: -self.gain(name))

    def gain(self, mix: str) -> float:
        """What the best of n by a mix gains by the yardstick."""
        found = self.curves[mix][-1].changes["yardstick"]
        return -np.inf if found is None else found.mean

    def document(self) -> dict[str, Any]:
        """For a script."""
        return {
            "run": str(self.answers.run.folder),
            "policy": self.answers.policy,
            "prompts": len(self.answers.asked),
            "samples": self.config.samples,
            "yardstick": self.config.measured_by,
            "order": self.order,
            "mixes": {
                name: {"weights": self.parts.weights[name], "curve": [asdict(p) for p in curve]}
                for name, curve in self.curves.items()
            },
            "rewards": {label: asdict(point) for label, point in self.alone.items()},
        }


def preview(config: PreviewConfig, base: Path) -> Preview:
    """Ask, score, and tell for every mix what its best of k would be."""
    model, policy = config.model_settings(), starting_policy(config, base)
    path = existing_path(config.data.path, base)
    records, _, snapshot = load_records(path, config.data, "ppo", config.seed)
    if not records:
        raise DataError(f"{path}: has no prompts to answer; lower `data.held_out` or add some")
    rows = prompt_rows(records)
    asked = Asked(model, policy, rows, config.samples, config.sampling, config.seed, snapshot)
    return look(config, base, answers_of(config.runs, asked))


def look(config: PreviewConfig, base: Path, answers: Answers) -> Preview:
    """The same of answers that are there."""
    parts = parts_of(config.mixes, base)
    measured = measure_answers(parts, answers.asked, answers.drawn, base, config.reward_timeout_s)
    nll = np.asarray([[np.nan if v is None else v for v in row] for row in answers.nll])
    measured = replace(measured, texts={**measured.texts, "nll": nll})
    rewards = {
        name: measured.totals(weights, config.combining) for name, weights in parts.weights.items()
    }
    columns = {"yardstick": rewards[config.measured_by], **measured.columns()}
    curves = {
        name: tuple(_point(k, total, columns) for k in sizes(config.samples))
        for name, total in rewards.items()
    }
    alone = {
        label: _point(config.samples, measured.totals({label: 1.0}, config.combining), columns)
        for label, veto in zip(parts.labels, measured.scores.veto, strict=True)
        if not veto
    }
    return Preview(config, answers, parts, measured, rewards, curves, alone)


def save(found: Preview) -> Path:
    """`preview-<id>.json` beside the answers, by the mixes that were asked about."""
    name = content_id(found.config.model_dump(mode="json", exclude={"runs"}), 8)
    path = found.answers.run.folder / f"preview-{name}.json"
    write_json(path, found.document())
    return path


def _point(k: int, total: Floats, columns: Mapping[str, Floats]) -> Point:
    measures = {"total": total, **columns}
    return Point(k, kl_bound(k), {name: change(total, v, k) for name, v in measures.items()})
