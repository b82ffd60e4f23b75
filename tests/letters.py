"""Eight letters and a policy that can learn which of them to say: PPO in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rewards import Component
from rlhf.data.records import Record
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import LoraSettings, Policy, base_policy
from rlhf.runs import Run
from rlhf.sampling import Sampling
from rlhf.training.online.backbone import build_backbone
from rlhf.training.online.rollouts import prompt_rows
from rlhf.training.online.run import make_loop, reward_set
from rlhf.training.online.settings import AlarmSettings, KlSettings, PpoSettings
from rlhf.training.ppo import Loop
from rlhf.training.stage import StageInputs
from rlhf.training.stages import stage_run, train_stage

LETTERS = "abcdefgh"
QUIET = AlarmSettings(
    kl=None,
    entropy=None,
    length=None,
    shortness=None,
    unfinished=None,
    domination=None,
    constant=None,
)
REWARDS = Path(__file__).with_name("letter_rewards.py")
EVERYWHERE = LoraSettings(
    r=8,
    alpha=16,
    target_modules=("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    dropout=0.0,
)


def questions_of(count: int) -> list[dict[str, Any]]:
    """Prompts of a few letters, all different."""
    texts = [LETTERS[n % 8] + LETTERS[n // 8 % 8] * (1 + n % 3) for n in range(count)]
    return prompt_rows([Record("prompt", ({"role": "user", "content": t},)) for t in texts])


def ppo(rewards: str | Sequence[Component] = "share_of_a", **changed: Any) -> PpoSettings:
    """Small settings: a reward of `letter_rewards.py` by name, or components."""
    named = (Component(name=f"{REWARDS}:{rewards}"),) if isinstance(rewards, str) else rewards
    settings: dict[str, Any] = {
        "rewards": tuple(named),
        "updates": 3,
        "prompts": 4,
        "samples": 3,
        "sampling": Sampling(max_new_tokens=6),
        "learning_rate": 1e-2,
        "lora": EVERYWHERE,
        "kl": KlSettings(coefficient=0.05),
        "alarms": QUIET,
        "tracking": "none",
        "save_every": 1,
    }
    return PpoSettings(**{**settings, **changed})


def train(
    model: ModelSettings, runs: Path, settings: PpoSettings, start: Policy | None = None
) -> tuple[Run, Policy]:
    """Train by settings from a start, in a runs folder."""
    rows = questions_of(12)
    begin = start or base_policy(model.base_model)
    inputs = StageInputs(model, begin, rows, rows[:4], {"parent": begin.id})
    run = stage_run(runs, settings, inputs)
    return run, train_stage(run, settings, inputs)


def loop_of(model: ModelSettings, settings: PpoSettings, start: Policy | None = None) -> Loop:
    """A loop before its first round."""
    begin = start or base_policy(model.base_model)
    inputs = StageInputs(model, begin, questions_of(12), [], {})
    backbone = build_backbone(model, begin, settings)
    tokenizer = load_tokenizer(model)
    rewards = reward_set(settings, None)
    return make_loop(settings, inputs, backbone, tokenizer, rewards, Accelerator(cpu=True))


def save_model(folder: Path) -> ModelSettings:
    """A random model whose answers are letters, in float32."""
    special = ["<pad>", "<eos>", "<bos>"]
    vocabulary = {token: i for i, token in enumerate([*special, *LETTERS, ":"])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ ':' }}{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.25,  # so that the frozen head lets one letter have nearly all
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return ModelSettings(base_model=str(folder), dtype="float32")
