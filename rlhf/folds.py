"""Reward models that have not learned the pairs which they are asked about.

The pairs are dealt into folds, no conversation and no prompt in two. For each fold a model is
trained on the others and scores it. The weights of a mix are fitted on such scores (stacking:
Wolpert 1992): a model's scores of its own pairs would be trusted too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlhf.chat import styled
from rlhf.data.records import Record, drop_prompts, split
from rlhf.errors import DataError
from rlhf.learned import pair_ids
from rlhf.models import ModelSettings
from rlhf.policies import Policy
from rlhf.progress import progress
from rlhf.runs import Run
from rlhf.scoring import open_reward_model
from rlhf.training.rows import training_rows
from rlhf.training.settings import RewardModelSettings
from rlhf.training.stage import StageInputs
from rlhf.training.stages import stage_run, train_stage

_PAIRS_AT_ONCE = 16


def deal(records: Sequence[Record], count: int) -> list[list[Record]]:
    """Parts of about the same size. Raises `DataError` where one would be empty."""
    rest, parts = list(records), []
    for left in range(count, 1, -1):
        rest, part = split(rest, 1 / left, salt=f"fold {left}")
        parts.append(part)
    parts.append(rest)
    if not all(parts):
        raise DataError(f"folds: the pairs are too few for {count} parts; take fewer, or none")
    return parts


def without(records: Sequence[Record], part: Sequence[Record]) -> list[Record]:
    """What a fold's model learns from."""
    return drop_prompts(records, part)


def cross_fit(
    run: Run,
    settings: RewardModelSettings,
    inputs: StageInputs,
    pairs: Sequence[Record],
    count: int,
) -> dict[str, float]:
    """Scores by `answer_id` from `count` models, each of which is a run in this run's folder."""
    scores: dict[str, float] = {}
    for number, part in enumerate(deal(pairs, count), 1):
        rows, validation = training_rows(settings, without(pairs, part))
        about = {**inputs.about, "fold": f"{number} of {count}"}
        own = replace(inputs, train=rows, held_out=validation, about=about)
        policy = train_stage(stage_run(run.folder / "folds", settings, own), settings, own)
        scores |= _scores(inputs.model, policy, part, f"fold {number} of {count}")
    return scores


def _scores(
    model: ModelSettings, policy: Policy, pairs: Sequence[Record], name: str
) -> dict[str, float]:
    scorer = open_reward_model(model, policy)
    found: dict[str, float] = {}
    with progress(name, len(pairs)) as advance:
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            prompts = [styled(r.prompt, r.style) for r in some for _ in range(2)]
            answers = [text for r in some for text in (str(r.chosen), str(r.rejected))]
            ids = [name for r in some for name in pair_ids(r)]
            found |= zip(ids, scorer.scores(prompts, answers), strict=True)
            advance(len(some))
    return found
