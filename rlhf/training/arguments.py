"""A stage's settings as the library's own config class, checked before a model loads."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlhf.errors import UsageError
from rlhf.training.settings import TrainerStage

# What the stage sets and users may set otherwise under `trainer:`. All else that it sets is its
# own: without `precompute_ref_log_probs`, say, TRL would take the bare base for the reference.
_FREE = {"warmup_steps", "logging_steps", "dataloader_pin_memory", "use_cpu"}

_NAMES = {
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "per_device_eval_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "report_to": "tracking",
    "save_steps": "eval_steps",
    "center_rewards_coefficient": "centre",
}
_REFUSED = {
    "output_dir": "the run folder is the stage's own",
    "max_steps": "set `epochs`; a resumed stage counts them",
    "ignore_data_skip": "a resumed stage must see the rows that it has not seen",
    "report_to": "set `tracking` of the stage",
    "resume_from_checkpoint": "a stage finds its own checkpoints",
    "train_sampling_strategy": "the stage orders its rows itself",
    "model_init_kwargs": "the stage loads the model; set `dtype`",
    "peft_config": "set `lora` of the stage",
    "push_to_hub": "a policy is saved in the run folder",
    "fp16": "set `dtype`",
    "truncation_mode": "a shared prompt is run once, so answers are cut at their end",
}
# What TRL's own forward pass would do, and the packed one does not.
_REPLACED = {
    "activation_offloading",
    "auto_find_batch_size",
    "discopop_tau",
    "f_alpha_divergence_coef",
    "f_divergence_type",
    "label_smoothing_factor",
    "ld_alpha",
    "loss_weights",
    "pad_to_multiple_of",
    "padding_free",
    "precompute_ref_batch_size",
    "ref_model_mixup_alpha",
    "ref_model_sync_steps",
    "router_aux_loss_coef",
    "sync_ref_model",
    "torch_compile",
    "use_liger_kernel",
    "use_weighting",
}


def library_arguments(
    config_class: type, settings: TrainerStage, own: Mapping[str, Any], folder: Path
) -> Any:
    """The library's config; raises `UsageError` for a `trainer:` key that it may not take."""
    given = {**_shared(settings), **own, "output_dir": str(folder), "report_to": []}
    known = {f.name for f in dataclasses.fields(config_class)}
    for key in settings.trainer:
        _check_key(key, known, set(given) - _FREE, config_class.__name__)
    try:
        return config_class(**{**given, **settings.trainer})
    except (ValueError, TypeError) as error:
        raise UsageError(f"trainer: {str(error).strip().splitlines()[0]}") from error


def _check_key(key: str, known: set[str], ours: set[str], where: str) -> None:
    if key in _REFUSED:
        raise UsageError(f"trainer.{key}: {_REFUSED[key]}")
    if key in _REPLACED:
        raise UsageError(f"trainer.{key}: is TRL's own forward pass's; rows are packed here")
    if key in ours:
        raise UsageError(f"trainer.{key}: is the stage's own; set `{_NAMES.get(key, key)}` of it")
    if key not in known:
        near = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "see the library's documentation"
        raise UsageError(f"trainer.{key}: {where} has no such key; {hint}")


def _shared(settings: TrainerStage) -> dict[str, Any]:
    each = "epoch" if settings.eval_steps is None else "steps"
    gpu = torch.cuda.is_available()
    return {
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        # A batch is a whole step; the trainer cuts it into parts that fit memory.
        "per_device_train_batch_size": settings.batch_size * settings.gradient_accumulation,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": 1,
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
        "dataloader_pin_memory": gpu,
        "warmup_steps": 0,
        "use_cpu": not gpu,
    }
