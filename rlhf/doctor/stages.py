"""The stages that a configuration will train, each with the rows that it will learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlhf.config import existing_path, validate
from rlhf.curriculum.rows import curriculum_rows
from rlhf.curriculum.settings import StagedConfig
from rlhf.cycle_settings import LoopConfig
from rlhf.data.records import Record, read_all, split
from rlhf.folds import deal, without
from rlhf.models import ModelSettings
from rlhf.policies import Policy, base_policy
from rlhf.train import RewardModelConfig, TrainConfig, parse_train_config, stage_settings
from rlhf.train_inputs import load_records, starting_policy
from rlhf.training.online.settings import PpoSettings
from rlhf.training.rows import stage_rows, training_rows
from rlhf.training.settings import AnyStage, KtoSettings, RewardModelSettings, SftSettings
from rlhf.training.sft import sft_rows
from rlhf.training.stage import Row


@dataclass(frozen=True)
class Stage:
    """One training as it is planned."""

    settings: AnyStage
    model: ModelSettings
    start: Policy
    train: Sequence[Row]
    validation: Sequence[Row]
    held_out: Sequence[Row]
    runs: Path
    note: str = ""
    """What the rows are, where they are not those that will be trained on."""


def planned(values: Mapping[str, Any], where: str, base: Path) -> list[Stage]:
    """Of `rlhf train`'s configuration the one stage or its list's, of `rlhf loop`'s each."""
    if "dialogues" in values:
        return _of_loop(validate(LoopConfig, values, where), base)
    config = parse_train_config(values, where)
    return _of_list(config, base) if isinstance(config, StagedConfig) else _of_train(config, base)


def _of_list(config: StagedConfig, base: Path) -> list[Stage]:
    """Each stage is measured on all stages' held-out rows."""
    lessons, held_out = curriculum_rows(config, base)
    kept = [row for aside in held_out.values() for row in sft_rows(aside)]
    start = starting_policy(config, base)
    return [
        Stage(
            settings=taught.lesson.sft(),
            model=config.model_settings(),
            start=start,
            train=[*taught.own, *taught.replay],
            validation=taught.validation,
            held_out=kept,
            runs=config.runs,
            note=f"stage {taught.lesson.name}",
        )
        for taught in lessons
    ]


def _of_train(config: TrainConfig, base: Path) -> list[Stage]:
    """The stage, and after a reward model its folds'."""
    settings = stage_settings(config)
    path = existing_path(config.data.path, base)
    records, held_out, _ = load_records(path, config.data, config.stage, config.seed)
    model, start = config.model_settings(), starting_policy(config, base)

    def stage(learned: Sequence[Record], aside: Sequence[Record], note: str = "") -> Stage:
        train, validation = training_rows(settings, learned)
        proof = stage_rows(settings, aside) if aside else []
        return Stage(settings, model, start, train, validation, proof, config.runs, note)

    found = [stage(records, held_out)]
    if isinstance(config, RewardModelConfig) and config.folds is not None:
        pairs = [r for r in records if r.shape == "preference"]
        parts = deal(pairs, config.folds)
        for number, part in enumerate(parts, 1):
            found.append(stage(without(pairs, part), part, f"fold {number} of {len(parts)}"))
    return found


def _of_loop(config: LoopConfig, base: Path) -> list[Stage]:
    """Votes are still to come: rows of the later stages are the dialogues, as if voted on."""
    records, _ = split(read_all(config.dialogue_paths(base)), config.held_out)
    votes = config.snapshot.window or config.min_votes
    voted = [records[i % len(records)] for i in range(votes)]
    note = f"as if {votes} votes were on dialogues like yours"
    own = config.reward_model
    learned = [own] if own and any(isinstance(s, PpoSettings) for s in config.stages) else []
    found = []
    for settings in (config.sft, *learned, *config.stages):
        first = isinstance(settings, SftSettings)
        as_voted = records if first else _as_if(voted, settings)
        train, validation = training_rows(settings, as_voted)
        model, start = config.model_settings(), base_policy(config.base_model)
        told = "" if first else note
        found.append(Stage(settings, model, start, train, validation, [], config.runs, told))
    return found


def _as_if(records: Sequence[Record], settings: AnyStage) -> list[Record]:
    """Dialogues in the shape that a stage learns from; the answer stands for both of a pair."""
    if isinstance(settings, PpoSettings):
        return list(records)
    answers = [r.completion or r.chosen or "" for r in records]
    if isinstance(settings, KtoSettings):
        return [
            replace(
                r, shape="unpaired", completion=text, chosen=None, rejected=None, label=i % 2 < 1
            )
            for i, (r, text) in enumerate(zip(records, answers, strict=True))
        ]
    return [
        replace(r, shape="preference", completion=None, chosen=text, rejected=f"{text} No.")
        for r, text in zip(records, answers, strict=True)
    ]


def scores(settings: AnyStage) -> bool:
    """Whether the stage trains a score in the place of a policy."""
    return isinstance(settings, RewardModelSettings)
