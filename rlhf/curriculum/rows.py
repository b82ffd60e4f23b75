"""The rows of a curriculum's stages: each one's own, the replayed, and what none may learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlhf.config import existing_path
from rlhf.curriculum.settings import Lesson, StagedConfig
from rlhf.data.records import Record, drop_prompts
from rlhf.data.replay import replayed
from rlhf.errors import DataError
from rlhf.train_inputs import data_hash, load_records
from rlhf.training.rows import training_rows
from rlhf.training.stage import Row

Sets = Mapping[str, Sequence[Record]]


@dataclass(frozen=True)
class Taught:
    """A stage's rows: its own to train on, to validate on, and those drawn from earlier stages."""

    lesson: Lesson
    own: list[Row]
    validation: list[Row]
    replay: list[Row]
    data: str
    snapshot: str | None


def curriculum_rows(config: StagedConfig, base: Path) -> tuple[list[Taught], Sets]:
    """Each stage's rows, none of which any stage holds out, and every stage's held-out rows."""
    read = [(lesson, *_read(lesson, base)) for lesson in config.stages]
    held_out = {lesson.name: aside for lesson, _, _, aside, _ in read if aside}
    every = [r for aside in held_out.values() for r in aside]
    taught: list[Taught] = []
    for lesson, path, records, _, snapshot in read:
        own, validation = training_rows(lesson.sft(), _without(records, every, lesson.name))
        earlier = [row for before in taught for row in before.own]
        replay = replayed(own, earlier, lesson.replay, f"{lesson.seed} {lesson.name}")
        data = snapshot or data_hash(path)
        taught.append(Taught(lesson, own, validation, replay, data, snapshot))
    return taught, held_out


def _read(lesson: Lesson, base: Path) -> tuple[Path, list[Record], list[Record], str | None]:
    path = existing_path(lesson.data.path, base)
    records, held_out, snapshot = load_records(path, lesson.data, "sft", lesson.seed)
    return path, _to_imitate(records), _to_imitate(held_out), snapshot


def _to_imitate(records: Sequence[Record]) -> list[Record]:
    """Chosen and liked answers as answers; what was rejected is left out."""
    kept = [r for r in records if r.label is not False]
    return [
        r
        if r.shape != "preference"
        else replace(
            r,
            shape="sft",
            completion=r.chosen,
            chosen=None,
            rejected=None,
            unfinished=("completion",) if "chosen" in r.unfinished else (),
        )
        for r in kept
    ]


def _without(records: Sequence[Record], held_out: Sequence[Record], name: str) -> list[Record]:
    """What one stage holds out, no stage may learn."""
    aside = {r.conversation for r in held_out}
    left = drop_prompts([r for r in records if r.conversation not in aside], held_out)
    if not left:
        raise DataError(f"stages: {name} has no row that is not held out; give it more rows")
    return left
