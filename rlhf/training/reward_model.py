"""A reward model on pairs of answers: Bradley and Terry's loss on a scalar head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import RewardConfig, RewardTrainer

from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.packed import Engine, Group
from rlhf.policies import Policy
from rlhf.progress import console
from rlhf.runs import Run
from rlhf.scoring import group_scores, head_scores, together
from rlhf.training.arguments import library_arguments
from rlhf.training.losses import score_losses
from rlhf.training.settings import RewardModelSettings
from rlhf.training.stage import Row, StageInputs, run_stage
from rlhf.training.trainer import Measured, PackedTrainer, Rows, weights_of


def reward_rows(records: Sequence[Record]) -> list[Row]:
    """TRL's conversational preference rows. Raises `DataError` when there are no pairs."""
    rows = [
        {
            "prompt": styled(r.prompt, r.style),
            "chosen": [{"role": "assistant", "content": r.chosen}],
            "rejected": [{"role": "assistant", "content": r.rejected}],
            "weight": r.weight,
            "margin": r.margin,
            "unfinished_chosen": "chosen" in r.unfinished,
            "unfinished_rejected": "rejected" in r.unfinished,
        }
        for r in records
        if r.shape == "preference"
    ]
    if not rows:
        raise DataError(
            "reward_model: needs pairs of a better and a worse answer, found none; votes in one "
            "direction make none: collect comparisons or down-votes"
        )
    return rows


class PackedRewardTrainer(PackedTrainer, RewardTrainer):  # type: ignore[misc]  # TRL has no types
    """A pair's loss by the scores at both answers' ends; what they begin with alike is run once."""

    def __init__(self, **own: Any) -> None:
        super().__init__(**own)
        _tell_left_out("rows", own["train_dataset"], self.train_dataset, self.args.max_length)
        if self.eval_dataset is not None:
            given = own["eval_dataset"]
            _tell_left_out("validation rows", given, self.eval_dataset, self.args.max_length)

    @cached_property
    def engine(self) -> Engine:
        """The model has a scalar head, so it gives states and no log-probabilities."""
        return Engine(self.model, head=False)

    def group(self, row: Mapping[str, Any]) -> Group:
        """Both dialogues, whole: a row that is too long is left out, as TRL does."""
        answers = [self.ended(row, name, row[f"{name}_ids"]) for name in ("chosen", "rejected")]
        return together(answers)

    def mass(self, row: Mapping[str, Any]) -> float:
        """The pair's weight."""
        return float(row.get("weight", 1.0))

    def total(self, rows: Rows, groups: Sequence[Group], known: Any) -> tuple[Tensor, Measured]:
        """See `losses.score_losses`."""
        scores = head_scores(self.engine.causal.score, self.engine.last_states(groups)).view(-1, 2)
        chosen, rejected = scores.unbind(-1)
        margins = torch.tensor([float(r.get("margin", 0.0)) for r in rows], device=scores.device)
        centre = self.args.center_rewards_coefficient or 0.0
        losses = score_losses(chosen, rejected, margins, centre)
        measured = {
            "accuracy": (chosen > rejected).float(),
            "margin": chosen - rejected,
            "mean_reward": scores.mean(-1),
        }
        return (losses * weights_of(rows, losses.device)).sum(), measured

    def about(self) -> dict[str, Any]:
        """`centre`: the mean score of the validation rows' answers, else of the training rows'."""
        rows = list(self.train_dataset if self.eval_dataset is None else self.eval_dataset)
        self.model.eval()
        with self.engine.on():
            groups = [self.group(row) for row in rows]
            head = self.engine.causal.score
            scores = group_scores(self.engine, head, groups, self.tokens_at_once).double()
        means = scores.view(-1, 2).mean(-1)
        weights = weights_of(rows, means.device).double()
        return {"centre": float((means * weights).sum() / weights.sum().clamp(min=1e-9))}


def _tell_left_out(what: str, given: Any, kept: Any, max_length: int) -> None:
    """TRL drops long rows without a word; with none left there is nothing to learn or measure."""
    if not len(kept):
        raise DataError(
            f"reward_model: all {len(given)} {what} are longer than {max_length} tokens; "
            "raise `max_length`"
        )
    if len(kept) < len(given):
        count = len(given) - len(kept)
        console.print(f"  left out {count} {what} longer than {max_length} tokens", markup=False)


def reward_arguments(settings: RewardModelSettings, folder: Path) -> RewardConfig:
    """TRL's config for a reward model's stage."""
    own: dict[str, Any] = {
        "center_rewards_coefficient": settings.centre,
        "disable_dropout": False,  # the LoRA's own, as in SFT
    }
    return library_arguments(RewardConfig, settings, own, folder)


def train_reward_model(run: Run, settings: RewardModelSettings, inputs: StageInputs) -> Policy:
    """Train on `inputs.start`'s base and adapter; returns the saved reward model."""
    # It scores in the numbers that it was trained in, wherever it is named as a reward.
    held = {"dtype": inputs.model.dtype, "quantize": inputs.model.quantize}
    inputs = replace(inputs, about={**inputs.about, **held})
    arguments = reward_arguments(settings, run.folder)
    return run_stage(run, settings, inputs, arguments, PackedRewardTrainer)
