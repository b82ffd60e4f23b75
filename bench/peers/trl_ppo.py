"""TRL 0.24's `PPOTrainer` on a job of `bench.ppo`; runs in the environment of `environment.py`.

    python -m bench.peers.trl_ppo job.json

The last line that it prints is a `Trained` as JSON. Nothing is saved, evaluated or reported.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    set_seed,
)
from trl import PPOConfig, PPOTrainer

from bench.memory import peak_gigabytes
from bench.peers.job import PpoJob, Probe, Trained, read_job
from rewards import Component, RewardSet

# What rounding may move the probe's mean log p by, and a score; a model that was read wrongly is
# further off.
_LOGPROB_OFF, _SCORE_OFF = 0.05, 0.3


def main(argv: Sequence[str]) -> None:
    """Train, and print what was found."""
    print(json.dumps(asdict(train(read_job(Path(argv[0]))))))


def train(job: PpoJob) -> Trained:
    """The clock starts with the models in memory."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # it tells that it will leave TRL
    set_seed(job.seed)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(job.base) / "tokenizer.json"))
    tokenizer.pad_token_id, tokenizer.eos_token_id = job.pad, job.eos
    tokenizer.padding_side = "left"
    policy: Any = AutoModelForCausalLM.from_pretrained(job.base, dtype=_dtype(job.dtype))
    reward, value = _reward(job, tokenizer), _value(job)
    check(job.probe, policy, reward)
    rows = datasets.Dataset.from_list([{"input_ids": ids} for ids in job.prompt_ids])
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        policy = get_peft_model(policy, _lora(job))
        trainer = PPOTrainer(
            args=PPOConfig(output_dir=folder, **_arguments(job)),
            processing_class=tokenizer,
            model=policy,
            ref_model=None,  # the policy without its adapter
            reward_model=reward,
            value_model=value,
            train_dataset=rows,
            eval_dataset=rows,  # asked for, and not looked at
            optimizers=_optimizers(job, policy, value),
        )
        trainer.train()
        seconds = time.perf_counter() - began
    curve = [_point(row) for row in trainer.state.log_history if "objective/kl" in row]
    return Trained(seconds, peak_gigabytes(), job.updates * job.batch, curve)


def _arguments(job: PpoJob) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": job.peer.at_once,
        "gradient_accumulation_steps": job.batch // job.peer.at_once,
        "num_mini_batches": 1,
        "num_ppo_epochs": job.epochs,
        "total_episodes": job.updates * job.batch,
        "local_rollout_forward_batch_size": job.batch,
        "response_length": job.new_tokens,
        "stop_token": "eos" if job.ends else None,
        "temperature": job.temperature,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "constant",
        "kl_coef": job.kl,
        "gamma": job.gamma,
        "lam": job.lam,
        "cliprange": job.clip,
        "cliprange_value": job.clip,
        "seed": job.seed,
        "bf16": job.peer.mixed,
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "num_sample_generations": 0,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _lora(job: PpoJob) -> Any:
    return LoraConfig(
        r=job.lora_r,
        lora_alpha=job.lora_alpha,
        target_modules=list(job.lora_targets),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )


def _optimizers(job: PpoJob, policy: Any, value: Any) -> tuple[Any, Any]:
    """The trainer's own, which knows one learning rate, or the same with a second one."""
    if job.peer.value_learning_rate is None:
        return None, None
    rates = ((policy, job.learning_rate), (value, job.peer.value_learning_rate))
    groups = [
        {"params": [p for p in model.parameters() if p.requires_grad], "lr": rate}
        for model, rate in rates
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def _point(row: dict[str, float]) -> dict[str, float]:
    reward, kl = row["objective/scores"], row["objective/kl"]
    return {"episodes": row["episode"], "reward": reward, "kl": kl}


# Reward and value


def _scorer(folder: str, dtype: str) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=_dtype(dtype)
    )


def _dtype(name: str) -> torch.dtype:
    found: torch.dtype = getattr(torch, name)
    return found


def _reward(job: PpoJob, tokenizer: Any) -> Any:
    if job.reward.merged is not None:
        return _scorer(job.reward.merged, job.dtype).eval()
    assert job.reward.rule is not None
    return RuleReward(job, RewardSet([Component(**job.reward.rule)]), tokenizer)


def _value(job: PpoJob) -> Any:
    """As in TRL's own example: the reward model once more; beside a rule the base."""
    value = _scorer(job.reward.merged or job.base, job.peer.value_dtype or job.dtype)
    if job.reward.merged is None:
        nn.init.zeros_(value.score.weight)  # a random head is random values
    if job.peer.value == "head":
        value.requires_grad_(False)
        value.score.requires_grad_(True)
    return value


class RuleReward(nn.Module):
    """A rule in the shape of a reward model.

    The trainer runs the module named by `base_model_prefix`, gives its last hidden states to
    `score`, and takes the number at the answer's last token: here every position has the row's.
    """

    base_model_prefix = "rule"

    def __init__(self, job: PpoJob, rewards: RewardSet, tokenizer: Any) -> None:
        super().__init__()
        self.rewards, self.tokenizer = rewards, tokenizer
        asked = zip(job.prompt_ids, job.prompts, strict=True)
        self.asked = {tuple(ids): text for ids, text in asked}
        self.lengths = sorted({len(ids) for ids in job.prompt_ids}, reverse=True)

    def rule(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Any:
        """Stands where the transformer is: "hidden states" `[rows, tokens, 1]`."""
        kept = zip(input_ids, attention_mask.bool(), strict=True)
        told = [self._told(tuple(ids[mask].tolist())) for ids, mask in kept]
        scored = self.rewards.score(
            [[{"role": "user", "content": prompt}] for prompt, _ in told],
            [[{"role": "assistant", "content": answer}] for _, answer in told],
        )
        totals = torch.tensor([float(row.total or 0.0) for row in scored])
        states = totals.to(input_ids.device)[:, None, None].expand(*input_ids.shape, 1)
        return SimpleNamespace(hidden_states=(states,))

    def score(self, states: Tensor) -> Tensor:
        """Stands where the head is."""
        return states

    def _told(self, row: tuple[int, ...]) -> tuple[str, str]:
        """The trainer does not say where the answer begins: after the prompt that the row has."""
        size = next(n for n in self.lengths if row[:n] in self.asked)
        answer = self.tokenizer.decode(row[size:], skip_special_tokens=True)
        return self.asked[row[:size]], str(answer).strip()


# The same models


@torch.no_grad()
def check(probe: Probe, policy: Any, reward: Any) -> None:
    """End unless the base and the reward model say what they say on the other side."""
    ids = torch.tensor([probe.ids], device=policy.device)
    logits = policy(input_ids=ids).logits[0, :-1].float()
    picked = logits.log_softmax(-1).gather(-1, ids[0, 1:, None])
    _agree("mean log p", float(picked.mean()), probe.logprob, _LOGPROB_OFF)
    if probe.score is not None:
        states = reward.model(input_ids=ids).last_hidden_state
        _agree("score", float(reward.score(states)[0, -1]), probe.score, _SCORE_OFF)


def _agree(name: str, found: float, expected: float, most: float) -> None:
    if not abs(found - expected) <= most:
        raise SystemExit(f"not the same model: {name} {found:.4f}, in this project {expected:.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
