"""Reward models: a base with a LoRA and a scalar head, which scores whole dialogues.

The head reads the last token's hidden state. Dialogues run packed, and what several have in common
at their start runs once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf.chat import Message
from rlhf.errors import PolicyError, UsageError
from rlhf.models import ModelSettings, load_scorer, load_tokenizer
from rlhf.packed import TOKENS_AT_ONCE, Engine, Group, micro_batches
from rlhf.policies import LoraSettings, Policy, add_lora, check_base, read_policy, verify_policy

# Reward models that stay in memory; one more, and the one unused for longest goes.
_KEPT = 4


# Weights


def new_reward_model(settings: ModelSettings, start: Policy, lora: LoraSettings, seed: int) -> Any:
    """What training moves: `start`'s adapter, or a fresh one drawn by `seed`, and a zero head."""
    if start.kind == "reward":
        return load_reward_model(settings, start, trainable=True)
    if start.kind == "full":
        raise UsageError(
            f"policy: {start.label} has moved every weight, and a reward model is saved as a LoRA "
            "on the base; start from the base or from a policy with a LoRA"
        )
    check_base(settings, start)
    base: Any = load_scorer(settings)
    # No opinion to begin with. A random head is noise that few pairs cannot unlearn: in one run
    # 159 of hh_harmless left SmolLM2 right on 46 % of 138 others, and from zero on 62 %.
    torch.nn.init.zeros_(base.score.weight)
    if start.folder is None:
        return add_lora(base, lora, seed, "SEQ_CLS")
    verify_policy(start)
    return _with_adapter(base, start, start.folder)


def load_reward_model(settings: ModelSettings, policy: Policy, *, trainable: bool = False) -> Any:
    """A reward model's weights. Raises `PolicyError` for a policy of another kind."""
    check_base(settings, policy)
    folder = _folder_of(policy)
    verify_policy(policy)
    base = load_scorer(settings)
    model = PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
    model.train(trainable)
    return model


def _folder_of(policy: Policy) -> Path:
    if policy.kind != "reward" or policy.folder is None:
        raise PolicyError(
            f"policy {policy.label} is no reward model (its kind is {policy.kind}); "
            "train one with `stage: reward_model`"
        )
    return policy.folder


def _with_adapter(base: Any, start: Policy, folder: Path) -> Any:
    """The adapter of a policy that answers, put on a base that scores, by its tensors' names."""
    config = LoraConfig.from_pretrained(str(folder))
    config.task_type, config.inference_mode = "SEQ_CLS", False
    model = get_peft_model(base, config)
    fresh = get_peft_model_state_dict(model)
    given = load_file(folder / "adapter_model.safetensors")
    strange = sorted(given.keys() - fresh.keys())
    if strange:
        raise UsageError(
            f"policy: {start.label} adapts {strange[0]}, which a reward model does not have; "
            "start from the base"
        )
    set_peft_model_state_dict(model, {**fresh, **given})
    return model


# Scores


def head_scores(head: Any, states: Tensor) -> Tensor:
    """Hidden states `[N, H]` to scores `[N]`, in float32 whatever the base is held in."""
    scores: Tensor = head(states.float()).squeeze(-1)
    return scores


def together(rows: Sequence[Sequence[int]]) -> Group:
    """Token rows that begin alike, as a prompt and its completions of at least a token each."""
    shared = min(map(len, rows)) - 1
    for row in rows[1:]:
        same = next((i for i in range(shared) if row[i] != rows[0][i]), shared)
        shared = min(shared, same)
    return Group(rows[0][:shared], [row[shared:] for row in rows])


@torch.no_grad()
def group_scores(
    engine: Engine, head: Any, groups: Sequence[Group], budget: int = TOKENS_AT_ONCE
) -> Tensor:
    """Scores of all groups' rows in their order, float32 `[rows]`, in parts; no gradient."""
    order = sorted(range(len(groups)), key=lambda i: (groups[i].tokens, i))
    found: dict[int, Tensor] = {}
    for part in micro_batches([groups[i].tokens for i in order], budget):
        chosen = [order[i] for i in part]
        scores = head_scores(head, engine.last_states([groups[i] for i in chosen]))
        sizes = [len(groups[i].completions) for i in chosen]
        found |= zip(chosen, torch.split(scores, sizes), strict=True)
    return torch.cat([found[i] for i in range(len(groups))])


@dataclass(frozen=True)
class RewardModel:
    """A reward model that is ready to score."""

    engine: Engine
    head: Any
    tokenizer: PreTrainedTokenizerBase
    centre: float
    """What the model gives an average answer; scores are what is above it."""
    borrowed: tuple[PeftModel, str] | None = None
    """The model that is its base as well, and its adapter's name there; see `lend`."""

    def scores(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[float]:
        """One score an answer. Rows beside each other with the same prompt run it once."""
        ids = [self._ids(p, a) for p, a in zip(prompts, answers, strict=True)]
        groups = []
        for _, same in groupby(range(len(ids)), key=lambda i: list(prompts[i])):
            rows = [ids[i] for i in same]
            for part in micro_batches([len(row) for row in rows], TOKENS_AT_ONCE):
                groups.append(together([rows[i] for i in part]))
        if not groups:
            return []
        with nullcontext() if self.borrowed is None else using(*self.borrowed), self.engine.on():
            found = group_scores(self.engine, self.head, groups)
        return [score - self.centre for score in found.tolist()]

    def _ids(self, prompt: Sequence[Message], answer: str) -> list[int]:
        """The dialogue as TRL's `RewardTrainer` writes it: by the template, whole."""
        turns: Any = [*prompt, {"role": "assistant", "content": answer}]
        ids: Any = self.tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
        return [int(i) for i in ids]


def open_reward_model(settings: ModelSettings, policy: Policy) -> RewardModel:
    """Load it to score, in evaluation mode. Raises `PolicyError`."""
    engine = Engine(load_reward_model(settings, policy), head=False)
    centre = float(policy.manifest["centre"])
    return RewardModel(engine, engine.causal.score, load_tokenizer(settings), centre)


def reward_model_at(folder: Path) -> RewardModel:
    """The reward model in a folder, on the base and in the numbers that it was trained in.

    Loaded once a process, on a base that is lent if it is the same. Raises `PolicyError` for a
    folder that holds none.
    """
    policy = read_policy(folder)
    _folder_of(policy)
    for loan in reversed(_lent):
        settings = loan.settings
        if settings.base_model == policy.base_model and _held(policy) == _held_by(settings):
            name = str(policy.id)
            if name not in loan.opened:
                loan.opened[name] = _borrowing(settings, loan.model, policy)
            return loan.opened[name]
    return _opened(folder.resolve(), policy.id)


@lru_cache(_KEPT)
def _opened(folder: Path, policy_id: str | None) -> RewardModel:
    """`policy_id` is for the cache: a folder may come to hold another reward model."""
    policy = read_policy(folder)
    return open_reward_model(ModelSettings(base_model=policy.base_model, **_held(policy)), policy)


# A base that is in memory already


@dataclass(frozen=True, eq=False)
class _Loan:
    """A base, and the reward models that were made of it, by their policies' ids."""

    settings: ModelSettings
    model: PeftModel
    opened: dict[str, RewardModel] = field(default_factory=dict)


_lent: list[_Loan] = []


@contextmanager
def lend(settings: ModelSettings, model: PeftModel) -> Iterator[None]:
    """Until this ends, reward models on the same base, in the same numbers, are adapters of

    `model`: a run that trains a policy with them has one base in memory.
    """
    loan = _Loan(settings, model)
    _lent.append(loan)
    try:
        yield
    finally:
        _lent.remove(loan)


@contextmanager
def using(model: PeftModel, adapter: str) -> Iterator[None]:
    """Another adapter than `default` is the active one until this ends; nothing of it trains."""
    model.set_adapter(adapter, inference_mode=True)
    try:
        yield
    finally:
        model.set_adapter("default")


def _borrowing(settings: ModelSettings, model: PeftModel, policy: Policy) -> RewardModel:
    name = str(policy.id)
    folder = _folder_of(policy)
    verify_policy(policy)
    tensors = load_file(folder / "adapter_model.safetensors", device=str(model.device))
    weight = tensors.pop("base_model.model.score.weight")
    if name not in model.peft_config:
        config = LoraConfig.from_pretrained(str(folder))
        config.task_type, config.inference_mode, config.modules_to_save = "CAUSAL_LM", True, None
        model.add_adapter(name, config)
        set_peft_model_state_dict(model, tensors, adapter_name=name)
        model.set_adapter("default")
    head = torch.nn.Linear(weight.shape[-1], 1, bias=False, device=weight.device)
    head.weight.data.copy_(weight)
    centre = float(policy.manifest["centre"])
    engine = Engine(model, head=False)
    return RewardModel(engine, head, load_tokenizer(settings), centre, (model, name))


def _held(policy: Policy) -> dict[str, Any]:
    """The numbers that a reward model's base is held in."""
    return {key: policy.manifest[key] for key in ("dtype", "quantize")}


def _held_by(settings: ModelSettings) -> dict[str, Any]:
    return {"dtype": settings.dtype, "quantize": settings.quantize}
