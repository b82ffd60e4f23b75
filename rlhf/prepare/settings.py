"""What `rlhf data prepare` is asked to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from rlhf.config import Settings, apply_overrides, load, validate
from rlhf.data.augmentation import AugmentSettings
from rlhf.data.balance import CoverageThresholds
from rlhf.data.cleaning import CleaningRules
from rlhf.data.columns import Layout
from rlhf.data.labels import LabelSettings
from rlhf.data.reward_columns import TAKEN

_YAML = (".yaml", ".yml")
# What preparing itself says of a row.
_WRITTEN = {"source", "language", "intent_by", "synthetic"}


class Twins(Settings):
    """Rows that say the same."""

    exact: bool = True
    """Leave out a row that is another but for case, spaces, width and punctuation."""
    near: bool = True
    """Leave out a row that is nearly another (MinHash); costs most of the time that is taken."""
    similarity: float = Field(default=0.85, gt=0.5, le=1)
    """From which share of common shingles two rows count as one."""


class PrepareConfig(Settings):
    """`rlhf data prepare CONFIG`"""

    name: str = Field(default="", max_length=60, pattern=r"^[A-Za-z0-9._-]*$")
    """What the folder is called after; the first source's name when left out."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Files (JSON, JSON lines, CSV, TSV, Parquet), folders of them, or `hub:<owner>/<name>`."""
    layout: Layout = Layout()
    """Which columns are which of our fields, where they have names of their own."""
    keep: tuple[str, ...] = ()
    """Columns of the rows' own that are carried over, for rewards: `[mood, sources]`."""
    clean: CleaningRules | None = CleaningRules()
    """What is cleaned out of texts; `null` leaves them as they are."""
    anonymise: bool = True
    """Put `<PHONE>`, `<NAME>` and others in the place of what identifies a person."""
    user_key: str = ""
    """A secret under which users' and conversations' names are hashed: `${RLHF_USER_KEY:-}`."""
    twins: Twins = Twins()
    """Rows that say the same."""
    labels: LabelSettings = LabelSettings()
    """Whether intents are filled in where rows have none."""
    augment: AugmentSettings | None = None
    """How training rows are multiplied; not at all when left out."""
    base_model: str | None = None
    """Whose tokenizer counts the tokens, and who paraphrases; neither when left out."""
    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the conversations that never train."""
    held_out_sources: tuple[str, ...] = ()
    """Files whose rows are all held out; rows of `sources` that repeat one are left out."""
    thresholds: CoverageThresholds = CoverageThresholds()
    """From when the report warns."""
    max_rejected: float = Field(default=0.05, ge=0, le=1)
    """The command fails when a larger share of the rows cannot be used."""
    max_row_bytes: int = Field(default=1 << 20, ge=1_000, le=1 << 30)
    """Longer rows are rejected."""
    workers: int | None = Field(default=None, ge=1, le=256)
    """Processes that make rows; one a processor when left out. The result is the same."""
    seed: int = 0
    """Of everything that is drawn."""
    runs: Path = Path("runs")
    """Where the folder goes, if `--out` names none."""

    @field_validator("sources", "held_out_sources", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str | Path) else given

    @field_validator("keep")
    @classmethod
    def _kept_are_none_of_ours(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for name in given:
            if name in TAKEN | _WRITTEN:
                raise ValueError(f"`{name}` is no column of the rows' own; leave it out")
        return given

    @property
    def processes(self) -> int:
        """How many processes make rows."""
        return self.workers or os.cpu_count() or 1


def parse_prepare_config(source: str, overrides: Sequence[str]) -> tuple[PrepareConfig, Path]:
    """The settings that a YAML file or a mere source asks for, and the folder they start from."""
    path = Path(source)
    if path.suffix.lower() in _YAML:
        values = load(path, overrides)
        return validate(PrepareConfig, values, source), path.resolve().parent
    values = apply_overrides({"sources": [source]}, overrides)
    return validate(PrepareConfig, values, source), Path.cwd()
