"""A training stage in its run folder: check the arguments, go on from the last checkpoint, save.

SFT, DPO and KTO differ in their rows and their trainer; what they share is here.
"""

from __future__ import annotations

import dataclasses
import difflib
import gc
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from rlhf.errors import StepFailed, UsageError
from rlhf.files import write_jsonl
from rlhf.models import (
    ModelSettings,
    Policy,
    add_lora,
    load_policy,
    load_tokenizer,
    quiet_transformers,
    read_policy,
    save_policy,
    verify_policy,
)
from rlhf.progress import Advance, progress
from rlhf.runs import Run, discard
from rlhf.tracking import tracked
from rlhf.training.checkpoints import MarkCheckpoints, last_complete
from rlhf.training.settings import AnyStage, SftSettings

# The stage itself decides these; a `trainer:` key for one of them would be silently lost.
_OURS = {
    "output_dir": "the run folder",
    "num_train_epochs": "epochs",
    "learning_rate": "learning_rate",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "max_length": "max_length",
    "seed": "seed",
    "report_to": "tracking",
    "beta": "beta",
    "loss_type": "loss_type",
}

Row = dict[str, Any]
MakeTrainer = Callable[..., Any]


@dataclass(frozen=True)
class StageInputs:
    """Where a stage starts and what it may learn from."""

    model: ModelSettings
    start: Policy
    train: Sequence[Row]
    held_out: Sequence[Row]
    about: Mapping[str, Any]
    """Lineage for the policy's manifest: parent, snapshot, run."""
    group: str = "rlhf"
    """Runs of one loop stand together in the tracker."""


def library_arguments(
    config_class: type, settings: AnyStage, own: Mapping[str, Any], folder: Path
) -> Any:
    """The library's own config; raises `UsageError` for a `trainer:` key it does not have."""
    known = {f.name for f in dataclasses.fields(config_class)}
    for key in settings.trainer:
        if key in _OURS:
            raise UsageError(f"trainer.{key}: is set by `{_OURS[key]}` of the stage")
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f"did you mean `{near[0]}`?" if near else ""
            raise UsageError(f"trainer.{key}: {config_class.__name__} has no such key; {hint}")
    arguments = {**_shared_arguments(settings), **own, "output_dir": str(folder)}
    try:
        return config_class(**{**arguments, **settings.trainer})
    except (ValueError, TypeError) as error:
        raise UsageError(f"trainer: {str(error).strip().splitlines()[0]}") from error


def _shared_arguments(settings: AnyStage) -> dict[str, Any]:
    each = "epoch" if settings.eval_steps is None else "steps"
    return {
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "max_length": settings.max_length,
        "seed": settings.seed,
        "data_seed": settings.seed,
        # The model's own number format decides; autocast on top of it would only add copies.
        "bf16": False,
        "logging_steps": 1,
        # transformers would print a NaN loss as a finite one.
        "logging_nan_inf_filter": False,
        "save_strategy": each,
        "eval_strategy": each,
        "save_steps": settings.eval_steps or 500,
        "eval_steps": settings.eval_steps or 500,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        # Without this the patience counter would start again after a crash.
        "restore_callback_states_from_checkpoint": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "warmup_steps": 0,
        "use_cpu": not torch.cuda.is_available(),
    }


def run_stage(
    run: Run, settings: AnyStage, inputs: StageInputs, arguments: Any, make_trainer: MakeTrainer
) -> Policy:
    """Train in the run's folder and save the policy; a finished and whole run is not done again."""
    adapter = run.folder / "adapter"
    if run.finished():
        policy = read_policy(adapter)
        verify_policy(policy)
        return policy
    if run.manifest is not None:  # finished once, and its files are no longer those
        discard(run)
    checkpoint = last_complete(run.folder)
    tokenizer = load_tokenizer(inputs.model)
    model = starting_model(inputs, settings)
    with tracked(settings.tracking, run.folder, inputs.group) as report_to:
        arguments.report_to = report_to
        trainer = assemble(make_trainer, model, tokenizer, arguments, inputs, settings)
        _train(trainer, run, checkpoint, settings)
    best = _best_loss(trainer)
    about = {**inputs.about, "run": run.folder.name, "metrics": best}
    policy = save_policy(
        trainer.model, tokenizer, adapter, base_model=inputs.model.base_model, about=about
    )
    files = [str(p.relative_to(run.folder)) for p in adapter.iterdir()] + ["metrics.jsonl"]
    run.finish({"policy": policy.id, "metrics": best, **inputs.about}, files)
    for path in run.folder.glob("checkpoint-*"):
        shutil.rmtree(path, ignore_errors=True)
    del trainer, model
    gc.collect()
    return policy


def starting_model(inputs: StageInputs, settings: AnyStage) -> Any:
    model = load_policy(inputs.model, inputs.start, trainable=True)
    if inputs.start.kind == "lora":
        return model
    if settings.lora is not None and inputs.start.kind == "base":
        return add_lora(model, settings.lora, settings.seed)
    model.requires_grad_(True)
    return model


def assemble(
    make_trainer: MakeTrainer,
    model: Any,
    tokenizer: Any,
    arguments: Any,
    inputs: StageInputs,
    settings: AnyStage,
) -> Any:
    train = _dataset(inputs.train, tokenizer)
    held_out = _dataset(inputs.held_out, tokenizer) if inputs.held_out else None
    if held_out is None:
        arguments.eval_strategy = "no"
        arguments.load_best_model_at_end = False
    datasets.disable_progress_bars()
    with quiet_transformers():
        trainer = make_trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=held_out,
            processing_class=tokenizer,
        )
    _drop_reference_adapter(trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(MarkCheckpoints())
    if held_out is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    return trainer


def _dataset(rows: Sequence[Row], tokenizer: Any) -> datasets.Dataset:
    """Rows with their length in tokens, by which trainers that may reorder them group batches."""
    columns = ("prompt", "completion", "chosen", "rejected")
    texts = [
        "\n".join(turn["content"] for name in columns for turn in row.get(name, ())) for row in rows
    ]
    lengths = [len(ids) for ids in tokenizer(texts).input_ids]
    return datasets.Dataset.from_list(
        [{**row, "length": length} for row, length in zip(rows, lengths, strict=True)]
    )


def _drop_reference_adapter(trainer: Any) -> None:
    """Reference log-probabilities are computed by now; the copy would only go into checkpoints."""
    if "ref" in getattr(trainer.model, "peft_config", {}):
        trainer.model.delete_adapter("ref")


def _train(trainer: Any, run: Run, checkpoint: Path | None, settings: AnyStage) -> None:
    name = "SFT" if isinstance(settings, SftSettings) else settings.stage.upper()
    with progress(name, total=None) as advance:
        trainer.add_callback(_Watch(run, advance))
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except OSError as error:
            raise StepFailed(f"{run.folder}: {error.strerror or error}; free disk?") from error


class _Watch(TrainerCallback):
    """Keeps `metrics.jsonl`, moves the bar, and stops at a loss that is not a number."""

    def __init__(self, run: Run, advance: Advance) -> None:
        self.path = run.folder / "metrics.jsonl"
        self.advance = advance

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """After a resume the file is made anew from what the checkpoint remembers."""
        write_jsonl(self.path, state.log_history)
        self.advance(0)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the bar."""
        self.advance(total=state.max_steps, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Append the row; raises `StepFailed` when the loss is NaN or infinite."""
        row = state.log_history[-1] if state.log_history else dict(logs or {})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False, default=float) + "\n")
        for key in ("loss", "eval_loss"):
            if key in row:
                self.advance(0, note=f"{key} {row[key]:.3f}")
                if not math.isfinite(row[key]):
                    raise StepFailed(
                        f"{key} is {row[key]} at step {state.global_step}; "
                        "lower learning_rate or look at the data"
                    )


def _best_loss(trainer: Any) -> dict[str, float]:
    losses = [r["eval_loss"] for r in trainer.state.log_history if "eval_loss" in r]
    train = [r["loss"] for r in trainer.state.log_history if "loss" in r]
    metrics = {"steps": float(trainer.state.global_step)}
    if train:
        metrics["loss"] = float(train[-1])
    if losses:
        metrics["eval_loss"] = float(min(losses))
    return metrics
