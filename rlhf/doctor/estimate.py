"""From what a token costs and how many there are, to bytes at the worst moment and seconds."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from rlhf.doctor.parameters import Parameters, Recipe
from rlhf.doctor.probe import Probe
from rlhf.doctor.workload import Workload
from rlhf.files import sha256_file

# Bytes of a number that training moves, in float32: itself, its gradient, AdamW's two moments.
_OWN, _GRADIENT, _MOMENTS = 4, 4, 8

# NF4 with quantised constants: 4 bits and 0.127 (Dettmers et al. 2023).
_NF4 = 4.127 / 8

_TRIED = 32 * 2**20


# Seconds that a model takes besides its bytes: modules, tokenizer, adapter, first kernels. Without
# it four short runs took 2 to 5 seconds longer than was estimated, whatever the model's size.
_OPENING = 1.0


@dataclass(frozen=True)
class Memory:
    """Bytes at the worst moment of training."""

    libraries: float
    """What the process holds before there is a model; on a GPU none is counted."""
    weights: float
    trained: float
    """Gradients and AdamW's moments, and an adapter's own weights."""
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.libraries + self.weights + self.trained + self.activations


def memory(
    counts: Parameters,
    recipe: Recipe,
    layers: int,
    libraries: float,
    tokens: int,
    probe: Probe | None,
    *,
    quantized: bool = False,
) -> Memory:
    """For so many tokens at once; without a probe activations count as none."""
    moving = counts.trainable
    size = 4 if recipe.lora is None else getattr(torch, recipe.dtype).itemsize
    frozen = counts.total - (0 if recipe.lora is None else moving)
    packed = counts.linear if quantized else 0
    own = 0 if recipe.lora is None else _OWN
    activations = 0.0
    if probe is not None:
        activations = probe.around_bytes + layers * probe.layer_bytes * tokens
    return Memory(
        libraries=libraries,
        weights=(frozen - packed) * size + packed * _NF4,
        trained=moving * (own + _GRADIENT + _MOMENTS),
        activations=activations,
    )


@dataclass(frozen=True)
class Duration:
    """Seconds of a run on this machine, as busy as it is now."""

    start: float
    """Until the libraries are there."""
    training: float
    """Loading, steps, validations, checkpoints, and the reference where there is one."""
    proof: float
    """The held-out rows by the weights before and after."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.start + self.training + self.proof


@dataclass(frozen=True)
class Overheads:
    """Seconds that are not the model's."""

    imports: float
    load: float
    """Of a model, each."""
    save: float
    """Of a checkpoint."""


def duration(work: Workload, probe: Probe, overheads: Overheads) -> Duration:
    """Every token that is trained on, looked at or drawn, and what goes on around."""
    training = (
        overheads.load
        + work.trained * probe.train_s
        + work.seen * probe.forward_s
        + work.drawn * probe.draw_s
        + work.steps * probe.step_s
        + (work.looks + 1) * overheads.save
    )
    proof = work.proof_seen * probe.forward_s + work.proof_drawn * probe.draw_s
    loads = 2 if proof else 0
    return Duration(
        start=overheads.imports,
        training=training,
        proof=proof + loads * overheads.load,
    )


def overheads(counts: Parameters, imports: float, runs: Path) -> Overheads:
    """Measured on a file of a few megabytes where runs will be kept: written, hashed, read."""
    folder = next(path for path in (runs, *runs.resolve().parents) if path.is_dir())
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        file.write(os.urandom(2**20) * (_TRIED // 2**20))
        file.flush()
        os.fsync(file.fileno())
        sha256_file(Path(file.name))
        written = (time.perf_counter() - began) / _TRIED
        began = time.perf_counter()
        raw = bytearray(Path(file.name).read_bytes())
        torch.frombuffer(raw, dtype=torch.bfloat16).float()
        read = (time.perf_counter() - began) / _TRIED
    saved = counts.trainable * (_OWN + _MOMENTS)
    return Overheads(imports, _OPENING + counts.total * 2 * read, saved * written)
