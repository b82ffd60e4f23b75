"""DPO on pairs and KTO on unpaired votes, on TRL's trainers.

The reference is the policy that the stage starts from. Its log-probabilities are computed before
the first step, by the very weights that training will move, so no second model is ever in memory
and the reference cannot be the bare base by accident (LLaMA-Factory#8459).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.models import Policy
from rlhf.runs import Run
from rlhf.training.arguments import library_arguments
from rlhf.training.grouping import GroupsByLength
from rlhf.training.settings import DpoSettings, KtoSettings, PolicyStage
from rlhf.training.stage import Row, StageInputs, run_stage

_MIN_ROWS = 2


def dpo_rows(records: Sequence[Record]) -> list[Row]:
    """TRL's conversational preference rows. Raises `DataError` when there are no pairs."""
    rows = [
        {
            "prompt": styled(r.prompt, r.style),
            "chosen": [{"role": "assistant", "content": r.chosen}],
            "rejected": [{"role": "assistant", "content": r.rejected}],
        }
        for r in records
        if r.shape == "preference"
    ]
    if len(rows) < _MIN_ROWS:
        raise DataError(
            f"dpo: needs pairs of a better and a worse answer, found {len(rows)}; votes in one "
            "direction make none: collect comparisons or down-votes, or use stage: kto"
        )
    return rows


def kto_rows(records: Sequence[Record], seed: int) -> list[Row]:
    """TRL's conversational unpaired rows, shuffled with the two classes spread evenly.

    TRL pairs each row with its neighbours for the KL term and so reads them in order; a batch
    without one class learns from half of the loss (trl#2554).
    """
    rows = [
        {
            "prompt": styled(r.prompt, r.style),
            "completion": [{"role": "assistant", "content": r.completion}],
            "label": bool(r.label),
        }
        for r in records
        if r.shape == "unpaired"
    ]
    liked = [r for r in rows if r["label"]]
    disliked = [r for r in rows if not r["label"]]
    if not liked or not disliked:
        raise DataError(
            f"kto: needs up-votes and down-votes, found {len(liked)} and {len(disliked)}; "
            "collect more votes"
        )
    return _interleave(liked, disliked, random.Random(seed))


def _interleave(liked: list[Row], disliked: list[Row], rng: random.Random) -> list[Row]:
    placed = []
    for group in (liked, disliked):
        rng.shuffle(group)
        placed += [((i + rng.random()) / len(group), row) for i, row in enumerate(group)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def train_preference(run: Run, settings: PolicyStage, inputs: StageInputs) -> Policy:
    """Train from `inputs.start`, which is also the reference; returns the saved policy."""
    if isinstance(settings, DpoSettings):
        arguments = dpo_arguments(settings, run.folder)
        return run_stage(run, settings, inputs, arguments, GroupedDPOTrainer)
    arguments = kto_arguments(settings, inputs.train, run.folder)
    return run_stage(run, settings, inputs, arguments, KTOTrainer)


class GroupedDPOTrainer(GroupsByLength, DPOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's, with batches of like lengths."""


def dpo_arguments(settings: DpoSettings, folder: Path) -> DPOConfig:
    """TRL's config for a DPO stage."""
    own: dict[str, Any] = {
        "beta": settings.beta,
        "loss_type": [settings.loss_type],
        "label_smoothing": settings.label_smoothing,
        "disable_dropout": True,
        "precompute_ref_log_probs": True,
    }
    return library_arguments(DPOConfig, settings, own, folder)


def kto_arguments(settings: KtoSettings, rows: Sequence[Row], folder: Path) -> KTOConfig:
    """TRL's config for a KTO stage on these rows, whose classes it balances."""
    wanted, unwanted = class_weights([bool(row["label"]) for row in rows])
    own: dict[str, Any] = {
        "beta": settings.beta,
        "loss_type": settings.loss_type,
        "desirable_weight": wanted,
        "undesirable_weight": unwanted,
        "disable_dropout": True,
        "precompute_ref_log_probs": True,
    }
    return library_arguments(KTOConfig, settings, own, folder)


def class_weights(labels: Sequence[bool]) -> tuple[float, float]:
    """Weights (liked, disliked) that make both classes count alike; the rarer one has weight 1.

    The KTO paper (section 4.2) asks for (w_D n_D) / (w_U n_U) between 1 and 4/3. Lowering the
    common class, not raising the rare one, keeps a batch with one rare row from ruling a step.
    """
    liked = sum(labels)
    disliked = len(labels) - liked
    if liked >= disliked:
        return disliked / liked, 1.0
    return 1.0, liked / disliked
