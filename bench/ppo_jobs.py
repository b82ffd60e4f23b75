"""Jobs of `bench.ppo`: what both sides start from, in a form that either transformers reads."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from bench.mixes import words
from bench.peers.job import PpoJob, Probe, Rewarded
from bench.sides import LORA
from rlhf.chat import render
from rlhf.files import write_json
from rlhf.models import (
    ModelSettings,
    load_base,
    load_tokenizer,
    locate_base,
    quiet_transformers,
)
from rlhf.policies import base_policy, save_policy
from rlhf.scoring import head_scores, new_reward_model

PROMPT_TOKENS = (38, 41)
"""The chat template's among them."""
_SEED = 1
_SPREAD = 0.02  # of a reward model's random weights; its adapter outlives a merge in bfloat16


def make_job(
    base_model: str, folder: Path, updates: int, rule: dict[str, Any] | None = None
) -> PpoJob:
    """One that asks each prompt once; `folder` gets what both sides read.

    EOS ends an answer where a `rule` is the reward, and not where a model is.
    """
    folder.mkdir(parents=True)
    ends = rule is not None
    base = str(_link_base(Path(locate_base(base_model)), folder / "base", ends=ends))
    model = ModelSettings(base_model=base)
    tokenizer = load_tokenizer(model)
    texts = prompts(tokenizer, updates * PpoJob.batch)
    ids = [prompt_ids(tokenizer, text) for text in texts]
    reward, score = Rewarded(rule=rule), None
    if rule is None:
        reward, score = _random_reward_model(model, folder, ids[0])
    return PpoJob(
        base=base,
        prompts=texts,
        prompt_ids=ids,
        pad=int(tokenizer.pad_token_id),
        eos=int(tokenizer.eos_token_id),
        reward=reward,
        probe=Probe(ids[0], _mean_logprob(model, ids[0]), score),
        dtype=model.dtype,
        updates=updates,
        ends=ends,
    )


def _link_base(source: Path, folder: Path, *, ends: bool) -> Path:
    """The base in a folder of its own.

    transformers 4 looks for `rope_theta` where 5 does not write it, and takes its default without
    a word. Without `ends` answers end at a token that there is not.
    """
    folder.mkdir()
    own = {"config.json", "generation_config.json"}
    for path in source.iterdir():
        if path.name not in own:
            (folder / path.name).symlink_to(path.resolve())
    config = _for_both(source / "config.json")
    write_json(folder / "config.json", config)
    eos = config["eos_token_id"] if ends else config["vocab_size"]
    write_json(folder / "generation_config.json", {"eos_token_id": eos})
    return folder


def _for_both(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {**config, "rope_theta": config["rope_parameters"]["rope_theta"]}


def prompts(tokenizer: PreTrainedTokenizerBase, count: int) -> list[str]:
    """Random words of `PROMPT_TOKENS`, no two alike; fewer are the first of more."""
    known, rng = words(), random.Random(_SEED)
    found: dict[str, None] = {}
    while len(found) < count:
        text, size, wanted = "", 0, rng.randint(*PROMPT_TOKENS)
        while size < wanted:
            text = f"{text} {rng.choice(known)}".lstrip()
            size = len(prompt_ids(tokenizer, text))
        if size == wanted:
            found[text] = None
    return list(found)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """By the chat template, up to where the answer begins."""
    return render(tokenizer, [{"role": "user", "content": text}])


@torch.no_grad()
def _random_reward_model(
    model: ModelSettings, folder: Path, ids: list[int]
) -> tuple[Rewarded, float]:
    """One with an opinion, in both forms, and what it thinks of the row `ids`."""
    scorer = new_reward_model(model, base_policy(model.base_model), LORA, _SEED)
    generator = torch.Generator().manual_seed(_SEED)
    for name, weight in scorer.named_parameters():
        if weight.requires_grad and ("lora_B" in name or "score" in name):
            weight.normal_(0.0, _SPREAD, generator=generator)
    about = {"centre": 0.0, "dtype": model.dtype, "quantize": None}
    tokenizer = load_tokenizer(model)
    save_policy(scorer, tokenizer, folder / "reward", base_model=model.base_model, about=about)
    causal = scorer.get_base_model()
    states = causal.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1:]
    score = float(head_scores(causal.score, states))
    merged = folder / "reward-merged"
    with quiet_transformers():
        scorer.merge_and_unload().to(getattr(torch, model.dtype)).save_pretrained(merged)
    write_json(merged / "config.json", _for_both(merged / "config.json"))
    return Rewarded(policy=str(folder / "reward"), merged=str(merged)), score


@torch.no_grad()
def _mean_logprob(model: ModelSettings, ids: list[int]) -> float:
    """Of the row's tokens but the first, by the base."""
    base: Any = load_base(model)
    row = torch.tensor([ids], device=base.device)
    logits = base(input_ids=row).logits[0, :-1].float()
    return float(logits.log_softmax(-1).gather(-1, row[0, 1:, None]).mean())
