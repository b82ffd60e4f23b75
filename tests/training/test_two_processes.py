"""Two processes that share the rows learn what one process learns from all of them.

Run as a program, this file is one of the processes: `torchrun … THIS MODEL FOLDER`.
"""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from examples_of import dialogue, pair, vote
from safetensors.torch import load_file, save_file
from torch.utils.data import SequentialSampler
from trl import SFTConfig

from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import LoraSettings, base_policy
from rlhf.training.arguments import library_arguments
from rlhf.training.dpo import PackedDPOTrainer, dpo_arguments, dpo_rows
from rlhf.training.kto import PackedKTOTrainer, kto_arguments, kto_rows
from rlhf.training.settings import AnyStage, DpoSettings, KtoSettings, SftSettings
from rlhf.training.sft import PackedSFTTrainer, sft_rows
from rlhf.training.stage import Row, StageInputs, assemble, starting_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

KINDS = ["sft", "dpo", "kto"]
_EACH = 2  # rows of each process in a step


class InOrder:
    """Steps of one process twice as long are then the steps of two processes."""

    train_dataset: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def rows_of(kind: str) -> list[Row]:
    """Unlike in length and weight, so that a mean of the processes' means would be another."""
    some = range(12)
    rows = {
        "sft": lambda: sft_rows([dialogue(n, completion="so " * (1 + n % 5)) for n in some]),
        "dpo": lambda: dpo_rows([pair(n) for n in some]),
        "kto": lambda: kto_rows([vote(n) for n in some], 0),
    }[kind]()
    return [{**row, "weight": 0.3 + n % 4} for n, row in enumerate(rows)]


def learn(kind: str, model: Path, folder: Path, processes: int) -> tuple[dict[str, Any], float]:
    """The adapter after an epoch, and the loss on some held-out rows."""
    settings = ModelSettings(base_model=str(model), dtype="float32")
    rows = rows_of(kind)
    common = {"tracking": "none", "epochs": 1, "learning_rate": 1e-1}
    common |= {"lora": LoraSettings(dropout=0.0), "batch_size": _EACH}
    stage: AnyStage
    if kind == "sft":
        stage = SftSettings(**common)
        own = {"packing": False, "completion_only_loss": True}
        make, arguments = PackedSFTTrainer, library_arguments(SFTConfig, stage, own, folder)
    elif kind == "dpo":
        stage = DpoSettings(**common)
        make, arguments = PackedDPOTrainer, dpo_arguments(stage, folder)
    else:
        stage = KtoSettings(**common)
        make, arguments = PackedKTOTrainer, kto_arguments(stage, rows, folder)
    inputs = StageInputs(settings, base_policy(str(model)), rows, rows[:5], {})
    policy = starting_model(inputs, stage)
    in_order = type(make.__name__, (InOrder, make), {})
    trainer = assemble(in_order, policy, load_tokenizer(settings), arguments, inputs, stage)
    assert trainer.accelerator.num_processes == processes
    # Only now: TRL pairs KTO's rows for the KL term within what one process has of a step.
    trainer._train_batch_size = _EACH * 2 // processes
    trainer.train()
    assert trainer.state.global_step == 3
    log = trainer.state.log_history
    assert kind != "kto" or max(row.get("kl", 0) for row in log) > 0.01
    (last,) = (row["eval_loss"] for row in log if "eval_loss" in row)
    return {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}, last


def main(model: Path, folder: Path) -> None:
    """One of two processes: leave in the folder what it has learned."""
    faulthandler.dump_traceback_later(120, exit=True)  # where one waits for the other in vain
    warnings.simplefilter("ignore")
    rank = os.environ["RANK"]
    for kind in KINDS:
        adapter, loss = learn(kind, model, folder / kind, 2)
        save_file({**adapter, "loss": torch.tensor(loss)}, folder / f"{kind}-{rank}.safetensors")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def learned(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes have left."""
    folder = tmp_path_factory.mktemp("two")
    # `accelerate launch` starts several processes without a GPU by MPI only.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = os.pathsep.join(str(p) for p in (Path.cwd(), Path(__file__).parents[1]))
    done = subprocess.run(
        [*launch, __file__, str(tiny_model), str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_one_learns(
    kind: str, learned: Path, tiny_model: Path, tmp_path: Path
) -> None:
    alone, loss = learn(kind, tiny_model, tmp_path, 1)
    first, second = (load_file(learned / f"{kind}-{rank}.safetensors") for rank in (0, 1))
    for name, weight in alone.items():
        assert first[name].equal(second[name]), name
        assert float((first[name] - weight).norm()) <= 1e-5 * float(weight.norm()), name
    assert float(first["loss"]) == float(second["loss"]) == pytest.approx(loss, rel=1e-5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
