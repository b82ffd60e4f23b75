"""How both sides of a training benchmark are built: from one set of arguments, for the same rows.

Ours is assembled as a stage assembles it. The peer is TRL's own trainer, told by name what it may
do otherwise. Where the base comes without a LoRA, both put it on after the clock has started.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
from peft import LoraConfig, PeftModel
from transformers import PrinterCallback, ProgressCallback

from bench.mixes import Row, words_of
from rlhf.models import ModelSettings, quiet_transformers
from rlhf.policies import LoraSettings, add_lora, base_policy
from rlhf.training.settings import TrainerStage
from rlhf.training.stage import StageInputs, assemble

TRL = f"TRL {version('trl')}"
BATCH = 8
LORA = LoraSettings(r=16, alpha=32, target_modules=("q_proj", "v_proj"), dropout=0.0)


@dataclass(frozen=True)
class Setup:
    """What is at hand when the clock starts."""

    model: ModelSettings
    base: Any
    tokenizer: Any
    rows: list[Row]
    checkpointing: bool
    folder: Path
    """Empty, and for this side alone: no reference is kept in it from an earlier run."""

    @property
    def run(self) -> Path:
        """The run folder; a reference is kept beside it."""
        return self.folder / "run"

    @property
    def settings(self) -> dict[str, Any]:
        """A stage's settings; all else is the stage's default. No row is long enough to be cut."""
        return {
            "epochs": 1,
            "batch_size": BATCH,
            "max_length": 2048,
            "gradient_checkpointing": self.checkpointing,
            "lora": LORA,
            "tracking": "none",
        }


Load = Callable[[ModelSettings], Any]
"""Loads what both sides train, before the clock starts."""

Side = Callable[[Setup], Any]
"""From what is loaded to a trainer that stands before `train()`."""


def ours(setup: Setup, settings: TrainerStage, arguments: Any, make_trainer: Any) -> Any:
    """The trainer of a stage that starts from the bare base."""
    start = base_policy(setup.model.base_model)
    inputs = StageInputs(setup.model, start, setup.rows, [], {})
    fresh = not isinstance(setup.base, PeftModel)
    model = add_lora(setup.base, LORA, settings.seed) if fresh else setup.base
    _save_nothing(arguments)
    return assemble(make_trainer, model, setup.tokenizer, arguments, inputs, settings)


def trl(
    setup: Setup,
    arguments: Any,
    make_trainer: Any,
    *,
    at_once: int = BATCH,
    **changed: Any,
) -> Any:
    """TRL's trainer, its rows grouped by length; `at_once` of a batch's rows in a forward pass.

    It puts the LoRA on the base itself: its reference is then the bare base, which is less work
    than the copy of the adapter that TRL asks where a model comes with one.
    """
    own = {
        "train_sampling_strategy": "group_by_length",
        "remove_unused_columns": False,  # the lengths are a column
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": BATCH // at_once,
    }
    for name, value in {**own, **changed}.items():
        setattr(arguments, name, value)
    _save_nothing(arguments)
    rows = [{**row, "length": words_of(row)} for row in setup.rows]
    datasets.disable_progress_bars()
    with quiet_transformers():
        trainer = make_trainer(
            model=setup.base,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=setup.tokenizer,
            peft_config=None if isinstance(setup.base, PeftModel) else _lora(),
        )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _lora() -> Any:
    return LoraConfig(
        r=LORA.r,
        lora_alpha=LORA.alpha,
        target_modules=list(LORA.target_modules),
        lora_dropout=LORA.dropout,
        task_type="CAUSAL_LM",
    )


def _save_nothing(arguments: Any) -> None:
    arguments.save_strategy = "no"
    arguments.eval_strategy = "no"
    arguments.load_best_model_at_end = False
