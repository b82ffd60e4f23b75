"""A training stage in its run folder: check the arguments, go on from the last checkpoint, save.

SFT, DPO and KTO differ in their rows and their trainer; what they share is here.
"""

from __future__ import annotations

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
from safetensors import SafetensorError
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from rlhf.errors import PolicyError, StepFailed, UsageError
from rlhf.files import write_jsonl
from rlhf.models import ModelSettings, load_tokenizer, quiet_transformers
from rlhf.packed.memory import give_back_freed_memory
from rlhf.policies import Policy, add_lora, load_policy, read_policy, save_policy, verify_policy
from rlhf.progress import Advance, progress
from rlhf.runs import Run
from rlhf.scoring import new_reward_model
from rlhf.stacking import stack_lora
from rlhf.tracking import tracked
from rlhf.training.checkpoints import MarkCheckpoints, last_complete, step_of, stopped_early
from rlhf.training.reference import Reference
from rlhf.training.settings import RewardModelSettings, SftSettings, TrainerStage

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
    base: Path | None = None
    """The configuration's folder, from where rewards are looked up."""


def finished_policy(run: Run) -> Policy | None:
    """The policy that this run has saved whole; None where it is absent or damaged."""
    try:
        policy = read_policy(run.folder / "adapter")
        verify_policy(policy)
    except PolicyError:
        return None
    return policy


def run_stage(
    run: Run, settings: TrainerStage, inputs: StageInputs, arguments: Any, make_trainer: MakeTrainer
) -> Policy:
    """Train by one of TRL's trainers in the run's folder; see `kept_or_trained`."""
    return kept_or_trained(
        run, inputs, lambda: _trained(run, settings, inputs, arguments, make_trainer)
    )


def kept_or_trained(run: Run, inputs: StageInputs, train: Callable[[], Policy]) -> Policy:
    """The run's policy, trained unless the run is finished and whole; its checkpoints go."""
    policy = finished_policy(run)
    if policy is None:
        _remove_leftovers(run)
        try:
            policy = train()
        except (OSError, SafetensorError, RuntimeError) as error:
            raise _disk_error(run, error) from error
        gc.collect()  # a trainer and its model hold each other; the next stage loads its own
        give_back_freed_memory()
    if not run.finished():
        files = [str(p.relative_to(run.folder)) for p in (run.folder / "adapter").iterdir()]
        metrics = policy.manifest.get("metrics", {})
        run.finish({"policy": policy.id, "metrics": metrics, **inputs.about}, files)
    for path in run.folder.glob("checkpoint-*"):
        shutil.rmtree(path, ignore_errors=True)
    return policy


def _trained(
    run: Run, settings: TrainerStage, inputs: StageInputs, arguments: Any, make_trainer: MakeTrainer
) -> Policy:
    checkpoint = last_complete(run.folder)
    tokenizer = load_tokenizer(inputs.model)
    model = starting_model(inputs, settings)
    with tracked(settings.tracking, run.folder, inputs.group) as report_to:
        arguments.report_to = report_to
        trainer = assemble(make_trainer, model, tokenizer, arguments, inputs, settings)
        _train(trainer, run, checkpoint, settings)
    about = {**inputs.about, "run": run.folder.name, "metrics": _best_loss(trainer)}
    about |= trainer.about()
    folder = run.folder / "adapter"
    base_model = inputs.model.base_model
    return save_policy(trainer.model, tokenizer, folder, base_model=base_model, about=about)


def _remove_leftovers(run: Run) -> None:
    """What a kill in the middle of a save, or damage since, has left."""
    for path in [*run.folder.glob(".policy-*"), run.folder / "adapter"]:
        shutil.rmtree(path, ignore_errors=True)


def _disk_error(run: Run, error: Exception) -> Exception:
    """A disk that is full or broken, in one line; any other error as it is.

    safetensors and torch wrap what the operating system said into errors of their own.
    """
    text = str(error)
    told = isinstance(error, OSError | SafetensorError) or "PytorchStreamWriter" in text
    if not told and "inline_container" not in text:
        return error
    reason = " ".join(text.split())[:160]
    return StepFailed(f"{run.folder}: could not be written ({reason}); is the disk full?")


def starting_model(inputs: StageInputs, settings: TrainerStage) -> Any:
    """The policy that training moves: its own adapter, a fresh one, or every weight."""
    start = inputs.start
    if isinstance(settings, RewardModelSettings):
        return new_reward_model(inputs.model, start, settings.lora, settings.seed)
    if isinstance(settings, SftSettings) and settings.adapters == "stacked":
        _check_stacked(settings, start)
        if start.kind == "lora" and settings.lora is not None:
            return stack_lora(inputs.model, start, settings.lora, settings.seed)
    if start.kind == "lora":
        return load_policy(inputs.model, start, trainable=True)
    if settings.lora is not None and start.kind == "base":
        return add_lora(load_policy(inputs.model, start), settings.lora, settings.seed)
    if inputs.model.quantize is not None:
        raise UsageError(
            "quantize: a base in 4 bits cannot move itself; set `lora`, or leave it out"
        )
    # Steps of AdamW are too small for bfloat16 weights: most of them would be rounded away.
    full = inputs.model.model_copy(update={"dtype": "float32"})
    model = load_policy(full, start)
    model.requires_grad_(True)
    return model


def _check_stacked(settings: SftSettings, start: Policy) -> None:
    """Raise `UsageError` where there is nothing to stack, or where it would not hold still."""
    if settings.lora is None or start.kind == "full":
        raise UsageError("adapters: only LoRAs are stacked; set `lora`, or `adapters: carried`")
    if settings.trainer.get("weight_decay"):
        raise UsageError("trainer.weight_decay: would wear off the adapters below; leave it out")


def assemble(
    make_trainer: MakeTrainer,
    model: Any,
    tokenizer: Any,
    arguments: Any,
    inputs: StageInputs,
    settings: TrainerStage,
) -> Any:
    train = datasets.Dataset.from_list(list(inputs.train))
    held_out = datasets.Dataset.from_list(list(inputs.held_out)) if inputs.held_out else None
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
            tokens_at_once=settings.tokens_at_once,
            reference=_reference(inputs, Path(arguments.output_dir).parent),
        )
    _drop_reference_adapter(trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(MarkCheckpoints())
    if held_out is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    return trainer


def _reference(inputs: StageInputs, runs: Path) -> Reference:
    """The start's name and number format; a GPU rounds otherwise than a processor."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = inputs.model
    policy = f"{inputs.start.label} {model.dtype} {model.quantize} {device}"
    return Reference(runs / "reference", policy)


def _drop_reference_adapter(trainer: Any) -> None:
    """Reference log-probabilities are computed by now; the copy would only go into checkpoints."""
    if "ref" in getattr(trainer.model, "peft_config", {}):
        trainer.model.delete_adapter("ref")


def _train(trainer: Any, run: Run, checkpoint: Path | None, settings: TrainerStage) -> None:
    name = "SFT" if isinstance(settings, SftSettings) else settings.stage.upper()
    resume = None if checkpoint is None else str(checkpoint)
    if checkpoint is not None and stopped_early(checkpoint, settings.patience):
        trainer.args.max_steps = step_of(checkpoint)  # what is left is to load the best weights
    with progress(name, total=None) as advance:
        trainer.add_callback(_Watch(run, advance))
        trainer.train(resume_from_checkpoint=resume)


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
