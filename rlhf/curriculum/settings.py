"""What `stage: staged` reads: a list of SFT stages, from the general to the particular."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rlhf.train_inputs import DataSettings, RunInputs
from rlhf.training.settings import SftSettings


class Lesson(SftSettings):
    """One stage of the list: SFT settings, its rows, and what it is reminded of."""

    name: str = Field(pattern=r"^[\w.-]{1,40}$")
    """How tables name the stage."""
    data: DataSettings
    """Which rows."""
    replay: float = Field(default=0.0, ge=0, le=0.9)
    """Share of the stage's rows that are drawn from the rows of earlier stages."""

    def sft(self) -> SftSettings:
        """The stage's settings alone."""
        return SftSettings(**{key: getattr(self, key) for key in SftSettings.model_fields})


_SHARED = frozenset(Lesson.model_fields) - {"stage", "name", "data"}


class StagedConfig(RunInputs):
    """`stage: staged`: SFT stage after stage, each from the policy before it.

    Settings of `stage: sft` that stand beside `stages` are every stage's, unless it has its own.
    """

    stage: Literal["staged"] = "staged"
    """Which stage this is."""
    stages: tuple[Lesson, ...] = Field(min_length=1)
    """In the order in which they are trained, usually general, domain, style."""

    @model_validator(mode="before")
    @classmethod
    def _share(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("stages"), list):
            return values
        shared = {key: value for key, value in values.items() if key in _SHARED}
        own = {key: value for key, value in values.items() if key not in _SHARED}
        return {**own, "stages": [_over(shared, stage) for stage in values["stages"]]}

    @field_validator("stages")
    @classmethod
    def _names_differ(cls, stages: tuple[Lesson, ...]) -> tuple[Lesson, ...]:
        names = [stage.name for stage in stages]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"two stages are named {twice[0]}; give each its own name")
        return stages

    @model_validator(mode="after")
    def _adapters_fit(self) -> Self:
        first = self.stages[0].lora
        for stage in self.stages[1:]:
            if stage.adapters == "carried" and stage.lora != first:
                raise ValueError(
                    f"stages: {stage.name} carries the adapter of the stages before it; set `lora` "
                    "once beside `stages`, or `adapters: stacked`"
                )
        return self


def _over(shared: Mapping[str, Any], own: Any) -> Any:
    """A stage's keys over the shared ones, key by key in mappings."""
    if not isinstance(own, Mapping):
        return own
    merged = dict(shared)
    for key, value in own.items():
        below = shared.get(key)
        merged[key] = _over(below, value) if isinstance(below, Mapping) else value
    return merged
