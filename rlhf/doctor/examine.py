"""A planned stage: what each way of training it takes on this machine, and which to take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import PeftConfig

from rlhf.doctor.advice import Option, Recommendation, Way, recommend, warnings
from rlhf.doctor.estimate import duration, memory, overheads
from rlhf.doctor.machine import memory_available, resident
from rlhf.doctor.parameters import Recipe, layers_of, parameters, read_config
from rlhf.doctor.probe import Probe, probe
from rlhf.doctor.stages import Stage, scores
from rlhf.doctor.workload import Workload, tokens_of, workload
from rlhf.errors import DataError
from rlhf.models import load_tokenizer
from rlhf.policies import LoraSettings
from rlhf.training.online.settings import PpoSettings
from rlhf.training.settings import SftSettings


@dataclass(frozen=True)
class Here:
    """This process on this machine, before there is a model."""

    free: int
    """Bytes that may still be taken."""
    libraries: float
    """Bytes that the libraries hold; 0 where a GPU's memory is what counts."""
    imports: float
    """Seconds that they took."""


# Tokenizer, threads' and kernels' own buffers, and what the heap keeps between blocks: without it
# four trainings of 30M and 135M weights took 0.27 to 0.47 GB more than was estimated.
_AROUND = 300_000_000


def here() -> Here:
    """As it is now; to be called when all that training imports is imported, and no more."""
    gpu = torch.cuda.is_available()
    return Here(memory_available(), 0 if gpu else resident() + _AROUND, time.process_time())


@dataclass(frozen=True)
class Examined:
    """What was found of one stage."""

    stage: str
    note: str
    rows: int
    tokens: int
    """Of all rows, each once."""
    part: int
    """Tokens in the largest pass."""
    steps: int
    parameters: int
    free: int
    """Bytes that are free."""
    configured: Way
    options: Mapping[Way, Option]
    recommendation: Recommendation
    warnings: tuple[str, ...]


def examine(stage: Stage, here: Here) -> Examined:
    """Measures for some seconds, with the weights of a few layers made up."""
    settings, config = stage.settings, read_config(stage.model)
    work, validation = _work(stage)
    recipes = _recipes(stage)
    tried = {way: _tried(stage, config, recipe, work, here) for way, recipe in recipes.items()}
    options = {
        way: _option(way, stage, config, recipe, work, here, tried[way])
        for way, recipe in recipes.items()
    }
    options["qlora"] = _option("qlora", stage, config, recipes["lora"], work, here, tried["lora"])
    configured = _configured(stage)
    told = warnings(settings, work, validation, options[configured], here.free)
    return Examined(
        stage=settings.stage,
        note=stage.note,
        rows=len(stage.train),
        tokens=round(work.tokens.total),
        part=work.part,
        steps=work.steps,
        parameters=parameters(config, Recipe(None, scores(settings))).total,
        free=here.free,
        configured=configured,
        options=options,
        recommendation=recommend(len(stage.train), options),
        warnings=tuple(told),
    )


def _work(stage: Stage) -> tuple[Workload, int]:
    settings, tokenizer = stage.settings, load_tokenizer(stage.model)
    train = tokens_of(settings, stage.train, tokenizer)
    if not train.groups:
        raise DataError(f"{settings.stage}: every row is too long; raise `max_length`")
    validation = tokens_of(settings, stage.validation, tokenizer)
    held_out = tokens_of(settings, stage.held_out, tokenizer, whole=True)
    passes = 1 if scores(settings) else 2
    return workload(settings, train, validation, held_out, passes), validation.rows


def _configured(stage: Stage) -> Way:
    if _own_lora(stage) is None:
        return "full"
    return "qlora" if stage.model.quantize is not None else "lora"


def _own_lora(stage: Stage) -> LoraSettings | None:
    """The adapter that this stage trains: its start's, or a fresh one."""
    if stage.start.kind == "full":
        return None
    if stage.start.kind == "base":
        return stage.settings.lora
    config: Any = PeftConfig.from_pretrained(str(stage.start.folder))
    return LoraSettings(
        r=config.r,
        alpha=config.lora_alpha,
        target_modules=tuple(sorted(config.target_modules)),
        dropout=config.lora_dropout,
    )


def _recipes(stage: Stage) -> dict[Way, Recipe]:
    """The ways that this stage could be trained; only SFT, DPO and KTO move every weight."""
    settings = stage.settings
    lora = _own_lora(stage) or LoraSettings()
    if not isinstance(settings, SftSettings):
        lora = lora.model_copy(update={"dropout": 0.0})
    adapter = Recipe(
        lora, scores(settings), stage.model.dtype, checkpointing=settings.gradient_checkpointing
    )
    only = isinstance(settings, PpoSettings) or scores(settings)
    if only:
        return {"lora": adapter}
    return {"lora": adapter, "full": replace(adapter, lora=None, dtype="float32")}


def _tried(stage: Stage, config: Any, recipe: Recipe, work: Workload, here: Here) -> Probe | None:
    """None where there is no room for the weights, even in four bits: then none to try them."""
    counts = parameters(config, recipe)
    packed = recipe.lora is not None
    least = memory(counts, recipe, 0, here.libraries, 0, None, quantized=packed)
    if least.total - here.libraries > here.free:
        return None
    return probe(config, recipe, counts, work.example, _drawn_at_once(stage))


def _option(
    way: Way,
    stage: Stage,
    config: Any,
    recipe: Recipe,
    work: Workload,
    here: Here,
    tried: Probe | None,
) -> Option:
    counts, layers, packed = parameters(config, recipe), layers_of(config), way == "qlora"
    need = memory(counts, recipe, layers, here.libraries, work.part, tried, quantized=packed)
    took = None
    if tried is not None and not packed:  # what unpacking costs is not measured
        took = duration(work, tried, overheads(counts, here.imports, stage.runs))
    fits = tried is not None and need.total - here.libraries <= here.free
    return Option(way, counts.trainable, counts.share, need, took, fits)


def _drawn_at_once(stage: Stage) -> int:
    settings = stage.settings
    if not isinstance(settings, PpoSettings) or settings.vllm is not None:
        return 0
    return min(settings.sampling.batch_size, settings.prompts * settings.samples)
