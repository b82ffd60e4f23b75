"""Which way of training fits, and what is to be minded before a run starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rlhf.doctor.estimate import Duration, Memory
from rlhf.doctor.workload import Workload
from rlhf.training.online.settings import PpoSettings

Way = Literal["lora", "qlora", "full"]
NAMES: Mapping[Way, str] = {"lora": "LoRA", "qlora": "QLoRA", "full": "full fine-tuning"}

# Dialogues from which moving every weight is worth its cost, and under which even a LoRA learns
# the rows rather than the manner: the thresholds of practice, 10 thousand and 100 thousand.
FULL_FROM = 100_000
FEW = 10_000
_TOO_FEW = 200

_CUT = 0.05
_CROWDED = 0.8
_LOOKED_AT = 20


@dataclass(frozen=True)
class Option:
    """One way of training, as it would be here."""

    way: Way
    trainable: int
    share: float
    memory: Memory
    duration: Duration | None
    """None where it was not measured."""
    fits: bool


@dataclass(frozen=True)
class Recommendation:
    """The way to take, and why in one line."""

    way: Way | None
    """None: nothing fits."""
    reason: str


def recommend(rows: int, options: Mapping[Way, Option]) -> Recommendation:
    """Full from 100,000 rows where it fits, else LoRA, else QLoRA."""
    full = options.get("full")
    if full is not None and full.fits and rows > FULL_FROM:
        return Recommendation(
            "full", f"you have {rows:,} rows, enough to change the model thoroughly, and it fits"
        )
    cost = f"{_cost(full)}; " if full is not None else ""
    for way in ("lora", "qlora"):
        if way in options and options[way].fits:
            which = _why_not_full(rows, full)
            return Recommendation(way, f"{cost}{which}: {NAMES[way]}")
    least = min(options.values(), key=lambda option: option.memory.total)
    return Recommendation(
        None,
        f"even {NAMES[least.way]} needs {gigabytes(least.memory.total)}, which is not free here; "
        "take a smaller base model or a larger machine",
    )


def _cost(full: Option) -> str:
    time = "" if full.duration is None else f" and {span(full.duration.total)}"
    return f"full fine-tuning would need {gigabytes(full.memory.total)}{time}"


def _why_not_full(rows: int, full: Option | None) -> str:
    if rows > FULL_FROM:
        fits = "which does not fit" if full is not None else "where only an adapter is trained"
        return f"you have {rows:,} rows, {fits}"
    kind = "quick iteration" if rows < FEW else "an adapter's range"
    return f"you have {rows:,} rows, {kind}"


def warnings(
    settings: Any, work: Workload, validation: int, chosen: Option, free: int
) -> list[str]:
    """What may go wrong with these settings, each with the way out."""
    told = _of_memory(settings, work, chosen, free) + _of_rows(settings, work)
    if not validation:
        told.append("too few rows to keep some for validation: there will be no early stopping")
    elif validation < _LOOKED_AT and not isinstance(settings, PpoSettings):
        told.append(
            f"only {validation} rows to validate on: early stopping will follow chance; "
            "give more rows"
        )
    each = getattr(settings, "eval_steps", None)
    if each is not None and each > work.steps:
        told.append(f"eval_steps is {each} and the run has {work.steps} steps: lower eval_steps")
    elif each is not None and work.looks > settings.patience and work.steps / work.looks < _EVERY:
        told.append(f"a validation each {each} steps, {work.looks} in all: raise eval_steps")
    return told


_EVERY = 5


def _of_memory(settings: Any, work: Workload, chosen: Option, free: int) -> list[str]:
    need = chosen.memory.total - chosen.memory.libraries
    if chosen.fits and need <= _CROWDED * free:
        return []
    what = "does not fit" if not chosen.fits else "leaves little room"
    told = f"{gigabytes(chosen.memory.total)} {what} ({gigabytes(free)} are free)"
    way_out = []
    if chosen.memory.activations > 0.2 * need:
        if not settings.gradient_checkpointing:
            way_out.append("set gradient_checkpointing: true")
        half = max(256, settings.tokens_at_once // 2)
        if work.part > half:
            way_out.append(f"lower tokens_at_once to {half}")
    if chosen.way == "full":
        way_out.append("train a LoRA")
    elif chosen.way == "lora" and chosen.memory.weights > 0.3 * need:
        way_out.append("set quantize: 4bit")
    return [f"{told}: {', or '.join(way_out or ['take a smaller base model'])}"]


def _of_rows(settings: Any, work: Workload) -> list[str]:
    told = []
    rows, longer = work.tokens.rows, work.tokens.longer
    if rows < _TOO_FEW:
        told.append(f"{rows} rows are few: the model will know them by heart; give more")
    if longer > _CUT:
        online = isinstance(settings, PpoSettings)
        name = "max_prompt" if online else "max_length"
        limit = settings.max_prompt if online else settings.max_length
        whole = online or settings.stage == "reward_model"
        fate = "left out" if whole else "cut"
        told.append(
            f"{longer:.0%} of the rows are longer than {limit} tokens and {fate}: raise {name}"
        )
    return told


def gigabytes(size: float) -> str:
    """For people."""
    return f"{size / 1e9:.1f} GB"


def span(seconds: float) -> str:
    """For people: seconds, minutes, hours or days."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
