"""A run's checkpoints: whole or absent, and enough that a killed run goes on as if it were not.

`policy/` is the policy of that round in the form of every other policy, so that the last good one
can be used; `state.safetensors` has the value head and the optimiser; `state.json` the numbers.
Nothing is drawn from a generator that outlives a round, so none has to be kept.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlhf.files import publish_folder, write_json
from rlhf.training.checkpoints import complete, last_complete, step_of
from rlhf.training.online.controllers import KlController, RunningMoments

_KEPT = 2


@dataclass(frozen=True)
class Carried:
    """What goes from round to round beside weights and optimiser."""

    update: int
    """Rounds done, which is also how far the prompts were read."""
    kl: KlController
    rewards: RunningMoments


def save_state(
    run: Path,
    carried: Carried,
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    policy: Path,
) -> Path:
    """Write `checkpoint-<update>`; `policy` is moved into it. The oldest ones go."""
    aside = Path(tempfile.mkdtemp(prefix=".checkpoint-", dir=run))
    try:
        policy.rename(aside / "policy")
        tensors = {f"weight/{name}": p.detach() for name, p in trained.items()}
        for name, parameter in trained.items():
            for key, value in optimizer.state[parameter].items():
                tensors[f"{key}/{name}"] = torch.as_tensor(value)
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        save_file(tensors, aside / "state.safetensors")
        write_json(aside / "state.json", asdict(carried))
        complete(aside, carried.update)
        folder = run / f"checkpoint-{carried.update}"
        publish_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for old in sorted(run.glob("checkpoint-*"), key=step_of)[:-_KEPT]:
        shutil.rmtree(old)
    return folder


def load_state(
    run: Path, trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> Carried | None:
    """Put the newest whole checkpoint's weights and optimiser in place; None where there is none.

    What a kill left half-written goes.
    """
    for path in run.glob(".checkpoint-*"):
        shutil.rmtree(path)
    folder = last_complete(run)
    if folder is None:
        return None
    tensors = load_file(folder / "state.safetensors")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors[f"weight/{name}"])
    for name, parameter in trained.items():
        optimizer.state[parameter] = _optimizer_state(tensors, name, parameter)
    kept = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return Carried(kept["update"], KlController(**kept["kl"]), RunningMoments(**kept["rewards"]))


def _optimizer_state(
    tensors: Mapping[str, Tensor], name: str, parameter: nn.Parameter
) -> dict[str, Tensor]:
    """AdamW keeps its count of steps on the processor, and its moments where the weights are."""
    found = {}
    for key, value in tensors.items():
        kind, _, owner = key.partition("/")
        if owner == name and kind != "weight":
            found[kind] = value if kind == "step" else value.to(parameter.device)
    return found
