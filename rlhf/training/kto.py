"""Kahneman-Tversky optimisation on single votes; the reference is the stage's start."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler
from trl import KTOConfig, KTOTrainer

from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.packed import Group
from rlhf.policies import Policy
from rlhf.runs import Run
from rlhf.training.arguments import library_arguments
from rlhf.training.losses import kl_baseline, vote_losses
from rlhf.training.settings import KtoSettings
from rlhf.training.stage import Row, StageInputs, run_stage
from rlhf.training.trainer import Measured, PackedTrainer, Rows, column, weights_of


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
            "weight": r.weight,
            "unfinished_completion": "completion" in r.unfinished,
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


class PackedKTOTrainer(PackedTrainer, KTOTrainer):  # type: ignore[misc]  # TRL has no types
    """A vote's loss is the mean over the step's votes; the KL term is taken over all of them."""

    def group(self, row: Mapping[str, Any]) -> Group:
        """The answer after its prompt."""
        return self.prompted(row, "completion_ids")

    def mass(self, row: Mapping[str, Any]) -> float:
        """The vote's weight."""
        return float(row.get("weight", 1.0))

    def before_step(self, rows: Rows) -> Tensor:
        """The reference point: what the policy's answers to other prompts gained on average."""
        device = self.accelerator.device
        if not self.calculate_KL:
            return torch.zeros((), device=device)
        groups = [self.prompted(row, "KL_completion_ids") for row in rows]
        weights = weights_of(rows, device)
        # A process may have no row of an evaluation, and must join in the sums all the same.
        sums = torch.cat([weights[:0], *self.engine.sums(groups, self.tokens_at_once)])
        gains = float(((sums - column(rows, "ref_KL_logps", device)) * weights).sum())
        mean = self._everywhere(gains) / max(self._everywhere(float(weights.sum())), 1e-9)
        return kl_baseline(torch.tensor([mean], device=device))

    def total(self, rows: Rows, groups: Sequence[Group], known: Tensor) -> tuple[Tensor, Measured]:
        """See `losses.vote_losses`."""
        sums = self.engine.score(groups).sums()
        gains = sums - column(rows, "ref_logps", sums.device)
        liked = column(rows, "label", sums.device) > 0
        losses = vote_losses(gains, liked, known, self.loss_type, self.beta)
        classes = torch.where(liked, self.desirable_weight, self.undesirable_weight)
        rewards = self.beta * gains
        measured = {
            "rewards/chosen": rewards[liked],
            "rewards/rejected": rewards[~liked],
            "kl": known.expand(len(rows)),
        }
        return (losses * classes * weights_of(rows, losses.device)).sum(), measured

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """As for pairs; a prompt is run once for its answer and the one of another row."""
        names = {"ref_logps": "completion_ids"}
        if self.calculate_KL:
            names["ref_KL_logps"] = "KL_completion_ids"
        groups = [self.prompted(row, *names.values()) for row in dataset]
        sums = self.reference_sums(groups)
        for number, kept in enumerate(names):
            dataset = dataset.add_column(kept, [row[number] for row in sums])
        return dataset

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        """As the rows stand: every step has both classes and the answers that its KL term needs."""
        return SequentialSampler(self.train_dataset)


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


def train_kto(run: Run, settings: KtoSettings, inputs: StageInputs) -> Policy:
    """Train from `inputs.start`, which is also the reference; returns the saved policy."""
    arguments = kto_arguments(settings, inputs.train, run.folder)
    return run_stage(run, settings, inputs, arguments, PackedKTOTrainer)
