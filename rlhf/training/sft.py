"""Supervised fine-tuning: the answer's tokens are learned, not the prompt's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from trl import SFTConfig, SFTTrainer

from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.packed import Group
from rlhf.policies import Policy
from rlhf.runs import Run
from rlhf.training.arguments import library_arguments
from rlhf.training.settings import SftSettings
from rlhf.training.stage import Row, StageInputs, run_stage
from rlhf.training.trainer import Measured, PackedTrainer, Rows, weights_of


def sft_rows(records: Sequence[Record]) -> list[Row]:
    """TRL's conversational prompt-completion rows, with the style's control in the prompt.

    A preference teaches its chosen answer; a vote, its completion if it was liked.
    """
    rows = []
    for record in records:
        answer = record.chosen if record.shape == "preference" else record.completion
        if answer is None or record.label is False:
            continue
        rows.append(
            {
                "prompt": styled(record.prompt, record.style),
                "completion": [{"role": "assistant", "content": answer}],
                "weight": record.weight,
                "unfinished_completion": bool({"completion", "chosen"} & set(record.unfinished)),
            }
        )
    if not rows:
        raise DataError("sft: no row has an answer to learn; give dialogues or up-voted answers")
    return rows


class PackedSFTTrainer(PackedTrainer, SFTTrainer):  # type: ignore[misc]  # TRL has no types
    """The mean negative log-likelihood of the answers' tokens, each with its row's weight."""

    def group(self, row: Mapping[str, Any]) -> Group:
        """TRL's columns: what its labels leave out at the start is the prompt."""
        ids, labels = row["input_ids"], row["labels"]
        start = max(1, next((i for i, label in enumerate(labels) if label != -100), len(ids)))
        return Group(ids[:start], [self.ended(row, "completion", ids[start:])])

    def mass(self, row: Mapping[str, Any]) -> float:
        """The answer's tokens, times the weight."""
        return float(row.get("weight", 1.0)) * len(self.group(row).completions[0])

    def total(self, rows: Rows, groups: Sequence[Group], known: Any) -> tuple[Tensor, Measured]:
        """Summed over the tokens of each answer."""
        losses = -self.engine.score(groups).sums()
        return (losses * weights_of(rows, losses.device)).sum(), {}


def train_sft(run: Run, settings: SftSettings, inputs: StageInputs) -> Policy:
    """Fine-tune from `inputs.start`; returns the policy, saved in `run.folder/adapter`."""
    own = {"packing": False, "completion_only_loss": True}
    arguments = library_arguments(SFTConfig, settings, own, run.folder)
    return run_stage(run, settings, inputs, arguments, PackedSFTTrainer)
