"""This project's side of a job of `bench.ppo`, in a process of its own.

    python -m bench.ppo_ours job.json

The last line that it prints is a `Trained` as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

from bench.memory import peak_gigabytes
from bench.peers.job import PpoJob, Trained, read_job
from rewards import Component
from rlhf.models import ModelSettings, load_base
from rlhf.policies import LoraSettings, base_policy
from rlhf.runs import open_run
from rlhf.sampling import Sampling
from rlhf.training.online.run import train_ppo
from rlhf.training.online.settings import AlarmSettings, KlSettings, PpoSettings
from rlhf.training.stage import StageInputs


def main(argv: Sequence[str]) -> None:
    """Train, and print what was found."""
    print(json.dumps(asdict(train(read_job(Path(argv[0]))))))


def train(job: PpoJob) -> Trained:
    """In this process, in a run folder that does not stay."""
    model = ModelSettings(base_model=job.base, dtype=job.dtype)
    columns = {"style": None, "intent": None, "reference": None}
    rows = [{"prompt": [{"role": "user", "content": text}], **columns} for text in job.prompts]
    inputs = StageInputs(model, base_policy(job.base), rows, [], {})
    base = load_base(model)
    with (
        tempfile.TemporaryDirectory() as folder,
        # In memory before the clock starts, as the peer's is.
        patch("rlhf.training.online.backbone.load_policy", return_value=base),
    ):
        run = open_run(Path(folder), "ppo", {}, {})
        began = time.perf_counter()
        train_ppo(run, settings(job), inputs)
        seconds = time.perf_counter() - began
        rounds = run.metrics()
    if not job.ends and any(row["length"] != job.new_tokens for row in rounds):
        raise RuntimeError(f"an answer ended before {job.new_tokens} tokens")
    return Trained(seconds, peak_gigabytes(), job.updates * job.batch, _curve(job, rounds))


def settings(job: PpoJob) -> PpoSettings:
    """The job in this project's words."""
    model = {"name": "reward_model", "params": {"path": job.reward.policy}}
    return PpoSettings(
        stage="ppo",
        rewards=(Component(**(job.reward.rule or model)),),
        updates=job.updates,
        prompts=job.batch,
        samples=1,
        sampling=Sampling(
            max_new_tokens=job.new_tokens, temperature=job.temperature, batch_size=job.batch
        ),
        epochs=job.epochs,
        minibatches=1,
        learning_rate=job.learning_rate,
        clip=job.clip,
        value_clip=job.clip,
        gamma=job.gamma,
        lam=job.lam,
        kl=KlSettings(coefficient=job.kl),
        target_kl=None,
        whiten_rewards=False,
        save_every=job.updates + 1,
        alarms=AlarmSettings(**dict.fromkeys(AlarmSettings.model_fields)),
        lora=LoraSettings(
            r=job.lora_r, alpha=job.lora_alpha, target_modules=job.lora_targets, dropout=0.0
        ),
        seed=job.seed,
        tracking="none",
    )


def _curve(job: PpoJob, rounds: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    return [
        {"episodes": row["step"] * job.batch, "reward": row["reward/total"], "kl": row["kl"]}
        for row in rounds
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
