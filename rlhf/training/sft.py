"""Supervised fine-tuning on TRL's trainer: the answer's tokens are learned, not the prompt's."""

from __future__ import annotations

from collections.abc import Sequence

from trl import SFTConfig, SFTTrainer

from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.models import Policy
from rlhf.runs import Run
from rlhf.training.arguments import library_arguments
from rlhf.training.grouping import GroupsByLength
from rlhf.training.settings import SftSettings
from rlhf.training.stage import Row, StageInputs, run_stage


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
            }
        )
    if not rows:
        raise DataError("sft: no row has an answer to learn; give dialogues or up-voted answers")
    return rows


class GroupedSFTTrainer(GroupsByLength, SFTTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's, with batches of like lengths."""


def train_sft(run: Run, settings: SftSettings, inputs: StageInputs) -> Policy:
    """Fine-tune from `inputs.start`; returns the policy, saved in `run.folder/adapter`."""
    own = {"packing": False, "completion_only_loss": True}
    arguments = library_arguments(SFTConfig, settings, own, run.folder)
    return run_stage(run, settings, inputs, arguments, GroupedSFTTrainer)
