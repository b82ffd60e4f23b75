"""Two processes that share a round's prompts learn what one learns from all of them.

Run as a program, this file is one of the processes: `accelerate launch … THIS MODEL FOLDER`.
"""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from letters import LETTERS, loop_of, ppo
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlhf.models import ModelSettings
from rlhf.sampling import Completion, Prompt, Sampling
from rlhf.training.online.settings import KlSettings

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

STAGES = ["ppo", "rloo", "grpo", "reinforce++"]
ROUNDS = 2


class Fixed:
    """Answers that hang on the prompt and on nothing else: whoever asks has the same batch."""

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int
    ) -> list[Completion]:
        said: dict[str, int] = {}
        answers = []
        for prompt in prompts:
            text = prompt.messages[-1]["content"]
            number = said[text] = said.get(text, 0) + 1
            at = [(sum(map(ord, text)) * (i + 2) + 5 * number * i) % 8 for i in range(number + 2)]
            ids = tuple(3 + n for n in at)
            answers.append(Completion("".join(LETTERS[n] for n in at), ids, "length"))
        return answers


def learn(stage: str, model: str) -> dict[str, Tensor]:
    """All that training moved, after two rounds of several steps."""
    kl = KlSettings(coefficient=0.2, target=0.5, horizon=50)
    settings = ppo(stage=stage, epochs=2, minibatches=2, target_kl=None, entropy=0.01, kl=kl)
    loop = loop_of(ModelSettings(base_model=model, dtype="float32"), settings)
    loop.sampler = Fixed()
    for update in range(ROUNDS):
        figures, _ = loop.round(update)
    told = {"reward/total": figures["reward/total"], "kl": figures["kl"], "beta": loop.kl}
    weights = {name: p.detach().clone() for name, p in loop.backbone.trained().items()}
    beta = torch.tensor(told.pop("beta").coefficient)  # type: ignore[union-attr]
    return {**weights, "beta": beta, **{n: torch.tensor(v) for n, v in told.items()}}


def main(model: str, folder: Path) -> None:
    """One of two processes: leave in the folder what it has learned."""
    faulthandler.dump_traceback_later(120, exit=True)  # where one waits for the other in vain
    warnings.simplefilter("ignore")
    for stage in STAGES:
        save_file(learn(stage, model), folder / f"{stage}-{os.environ['RANK']}.safetensors")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def learned(letters: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both processes have left."""
    folder = tmp_path_factory.mktemp("two")
    # On a processor `accelerate launch` starts several processes by MPI only, unless it is told
    # that they were for GPUs.
    launch = [str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--main_process_port", "0"]
    path = os.pathsep.join(str(p) for p in (Path.cwd(), Path(__file__).parents[2]))
    done = subprocess.run(
        [*launch, __file__, letters.base_model, str(folder)],
        env={**os.environ, "PYTHONPATH": path, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_learn_what_one_learns(
    stage: str, learned: Path, letters: ModelSettings
) -> None:
    alone = learn(stage, letters.base_model)
    first, second = (load_file(learned / f"{stage}-{rank}.safetensors") for rank in (0, 1))
    start = loop_of(letters, ppo(stage=stage)).backbone.trained()
    for name, weight in alone.items():
        assert first[name].equal(second[name]), name
        assert float((first[name] - weight).norm()) <= 1e-4 * float(weight.norm()), name
        assert name not in start or not start[name].equal(weight), name


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
