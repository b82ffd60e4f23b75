"""What `rlhf train` needs beside a stage's settings: the rows, and the policy to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from feedback_store import Store, load_snapshot
from rewards.texts.text import is_chinese
from rlhf.chat import parse_style
from rlhf.config import Settings
from rlhf.data.records import Record, read_records, split, take
from rlhf.errors import DataError, UsageError
from rlhf.files import sha256_file
from rlhf.models import ModelSettings
from rlhf.policies import Policy, base_policy, read_policy, verify_policy
from rlhf.prepare.folder import HELD_OUT, TRAIN, is_prepared, verify
from rlhf.release import find
from rlhf.runs import MANIFEST
from rlhf.training.online.settings import OnlineStage
from rlhf.training.rows import snapshot_records, unpaired


class Where(Settings):
    """Which rows of a file; what is left out lets every row pass."""

    intent: tuple[str, ...] = ()
    """Rows of these intents."""
    style: tuple[str, ...] = ()
    """Rows of these styles, by their label or by the control that stands for it."""
    language: Literal["en", "zh"] | None = None
    """Rows whose last question is in this language, by its script."""

    def lets(self, record: Record) -> bool:
        """Whether the row is one of them."""
        styles = {record.style, parse_style(record.style)}
        chinese = is_chinese(record.prompt[-1]["content"])
        return (
            (not self.intent or record.intent in self.intent)
            and (not self.style or not styles.isdisjoint(self.style))
            and self.language in (None, "zh" if chinese else "en")
        )


class DataSettings(Settings):
    """Which rows a stage learns from."""

    path: Path
    """A JSON or JSONL file, a snapshot's folder, or one that `rlhf data prepare` made."""
    where: Where = Where()
    """Only rows of some intents, styles or one language."""
    limit: int | None = Field(default=None, ge=1)
    """Rows used, drawn by seed; all when left out."""
    style: str | None = None
    """Ask every prompt in this style, whatever its row says."""
    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the conversations kept for validation; a folder brings its own."""


class RunInputs(ModelSettings):
    """Where a training starts, and where it leaves what it made."""

    policy: str | None = None
    """The policy to start from: a folder, or an id in `store`; the base model when left out."""
    runs: Path = Path("runs")
    """Where run folders go."""
    store: str | None = None
    """A feedback store in which the new policy is registered."""

    def model_settings(self) -> ModelSettings:
        """The part that says which base model and how it is held."""
        return ModelSettings(**{k: getattr(self, k) for k in ModelSettings.model_fields})


def data_hash(path: Path) -> str:
    """What names the rows: a file's own bytes, or the manifest of a folder's."""
    return sha256_file(path / MANIFEST if path.is_dir() else path)


def load_records(
    path: Path, data: DataSettings, stage: str, seed: int
) -> tuple[list[Record], list[Record], str | None]:
    """Records to train on and to prove it on, and the snapshot that they come from."""
    train, held_out, snapshot = _read(path, data, stage, seed)
    if data.style is not None:
        asked = [[replace(r, style=data.style) for r in part] for part in (train, held_out)]
        train, held_out = asked
    return train, held_out, snapshot


def _read(
    path: Path, data: DataSettings, stage: str, seed: int
) -> tuple[list[Record], list[Record], str | None]:
    if is_prepared(path):
        return *_prepared(path, data, stage, seed), None
    if path.is_dir():
        manifest = load_snapshot(path)
        parts = (snapshot_records(path, stage, aside) for aside in (False, True))
        train, held_out = ([r for r in part if data.where.lets(r)] for part in parts)
        return train, held_out, manifest.id
    return *split(_file(path, data, stage, seed), data.held_out), None


def _prepared(
    folder: Path, data: DataSettings, stage: str, seed: int
) -> tuple[list[Record], list[Record]]:
    """What `rlhf data prepare` made, checked; the split is the folder's own."""
    verify(folder)
    held_out = folder / HELD_OUT
    aside = _file(held_out, data, stage, seed) if held_out.stat().st_size else []
    return _file(folder / TRAIN, data, stage, seed), aside


def _file(path: Path, data: DataSettings, stage: str, seed: int) -> list[Record]:
    records = _chosen(read_records(path, answered=stage not in get_args(OnlineStage)), data, path)
    records = take(records, data.limit, seed)
    return unpaired(records) if stage == "kto" else records


def _chosen(records: Sequence[Record], data: DataSettings, path: Path) -> list[Record]:
    chosen = [r for r in records if data.where.lets(r)]
    if not chosen:
        raise DataError(f"{path}: `where` lets none of {len(records)} rows pass; widen it")
    return chosen


def starting_policy(config: RunInputs, base: Path) -> Policy:
    """The policy that `policy:` names, verified; the base model where it names none."""
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
