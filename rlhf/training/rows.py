"""Records as the rows that each stage's trainer takes, and a part of them to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlhf.data.records import Record, read_records, split
from rlhf.errors import DataError
from rlhf.training.dpo import dpo_rows
from rlhf.training.kto import kto_rows
from rlhf.training.online.rollouts import prompt_rows
from rlhf.training.online.settings import PpoSettings
from rlhf.training.reward_model import reward_rows
from rlhf.training.settings import AnyStage, DpoSettings, RewardModelSettings, SftSettings
from rlhf.training.sft import sft_rows
from rlhf.training.stage import Row

# Early stopping looks at these rows, so they must not be those that a policy is judged on.
_VALIDATION = 0.1


def stage_rows(settings: AnyStage, records: Sequence[Record]) -> list[Row]:
    """Rows for the stage; raises `DataError` when there is nothing that it could learn from."""
    if isinstance(settings, SftSettings):
        return sft_rows(records)
    if isinstance(settings, DpoSettings):
        return dpo_rows(records)
    if isinstance(settings, RewardModelSettings):
        return reward_rows(records)
    if isinstance(settings, PpoSettings):
        return prompt_rows(records)
    return kto_rows(records, settings.seed)


def training_rows(settings: AnyStage, records: Sequence[Record]) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and rows of other conversations to validate on.

    Too few for both: all of them train, and the stage runs without early stopping.
    """
    train, validation = split(list(records), _VALIDATION, salt="validation")
    try:
        return stage_rows(settings, train), stage_rows(settings, validation)
    except DataError:
        return stage_rows(settings, records), []


# What a stage learns from, of a snapshot's files.
_FILES = {"sft": "sft", "dpo": "dpo", "kto": "kto", "reward_model": "dpo"}


def snapshot_records(folder: Path, stage: str, held_out: bool = False) -> list[Record]:
    """A snapshot's records for a stage; none where the file is empty or absent."""
    name = _FILES.get(stage, "prompts")
    path = folder / f"{'heldout_' if held_out else ''}{name}.jsonl"
    if not path.exists() or path.stat().st_size == 0:
        return []
    return read_records(path, answered=name != "prompts")


def held_out_votes(folder: Path, stages: Sequence[AnyStage]) -> list[Record]:
    """A snapshot's held-out votes of the kinds that the stages learn from.

    A stage that learns from rewards is held against all of them: they are what it is for.
    """
    kinds: list[str] = []
    for settings in stages:
        online = isinstance(settings, PpoSettings)
        kinds += ["dpo", "kto"] if online else [settings.stage]
    return [r for kind in dict.fromkeys(kinds) for r in snapshot_records(folder, kind, True)]


def unpaired(records: Sequence[Record]) -> list[Record]:
    """Pairs as one liked and one disliked answer each; other records as they are."""
    result: list[Record] = []
    for record in records:
        if record.shape != "preference":
            result.append(record)
            continue
        for name, answer, label in (
            ("chosen", record.chosen, True),
            ("rejected", record.rejected, False),
        ):
            vote = replace(
                record,
                shape="unpaired",
                completion=answer,
                label=label,
                chosen=None,
                rejected=None,
                unfinished=("completion",) if name in record.unfinished else (),
            )
            result.append(vote)
    return result
