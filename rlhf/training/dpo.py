"""Direct preference optimisation on pairs of answers; the reference is the stage's start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import DPOConfig, DPOTrainer

from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.packed import Group
from rlhf.policies import Policy
from rlhf.runs import Run
from rlhf.training.arguments import library_arguments
from rlhf.training.losses import Pairs, pair_losses
from rlhf.training.settings import DpoSettings
from rlhf.training.stage import Row, StageInputs, run_stage
from rlhf.training.trainer import Measured, PackedTrainer, Rows, column, weights_of

_MIN_ROWS = 2
_ANSWERS = ("chosen", "rejected")


def dpo_rows(records: Sequence[Record]) -> list[Row]:
    """TRL's conversational preference rows. Raises `DataError` when there are no pairs."""
    rows = [
        {
            "prompt": styled(r.prompt, r.style),
            "chosen": [{"role": "assistant", "content": r.chosen}],
            "rejected": [{"role": "assistant", "content": r.rejected}],
            "weight": r.weight,
            "unfinished_chosen": "chosen" in r.unfinished,
            "unfinished_rejected": "rejected" in r.unfinished,
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


class PackedDPOTrainer(PackedTrainer, DPOTrainer):  # type: ignore[misc]  # TRL has no types
    """A pair's loss is the mean over its pairs, each with its weight; the prompt is run once."""

    def group(self, row: Mapping[str, Any]) -> Group:
        """Both answers after their prompt, cut at `max_length` as TRL does."""
        return self.prompted(row, "chosen_ids", "rejected_ids")

    def mass(self, row: Mapping[str, Any]) -> float:
        """The pair's weight."""
        return float(row.get("weight", 1.0))

    def total(self, rows: Rows, groups: Sequence[Group], known: Any) -> tuple[Tensor, Measured]:
        """See `losses.pair_losses`."""
        scores = self.engine.score(groups)
        chosen, rejected = scores.sums().view(-1, 2).unbind(-1)
        lengths = torch.tensor(scores.lengths, device=chosen.device).view(-1, 2)
        before = [column(rows, f"ref_{name}_logps", chosen.device) for name in _ANSWERS]
        pairs = Pairs(chosen, rejected, before[0], before[1], lengths[:, 0], lengths[:, 1])
        losses = pair_losses(pairs, self.loss_types[0], self.beta, self.label_smoothing)
        gains = [self.beta * gain for gain in pairs.gains]
        measured = {
            "rewards/chosen": gains[0],
            "rewards/rejected": gains[1],
            "rewards/margins": gains[0] - gains[1],
            "rewards/accuracies": (gains[0] > gains[1]).float(),
            "logps/chosen": chosen,
            "logps/rejected": rejected,
        }
        return (losses * weights_of(rows, losses.device)).sum(), measured

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """In the place of TRL's pass: the model is still the stage's start."""
        groups = [self.group(row) for row in dataset]
        sums = self.reference_sums(groups)
        for number, answer in enumerate(_ANSWERS):
            dataset = dataset.add_column(f"ref_{answer}_logps", [row[number] for row in sums])
        return dataset


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


def train_dpo(run: Run, settings: DpoSettings, inputs: StageInputs) -> Policy:
    """Train from `inputs.start`, which is also the reference; returns the saved policy."""
    return run_stage(run, settings, inputs, dpo_arguments(settings, run.folder), PackedDPOTrainer)
