"""What a stage will run through the model: rows as tokens, steps, looks at held-out rows.

A sample of the rows is tokenised, and stands for all.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from rlhf.chat import render
from rlhf.packed import Group, micro_batches
from rlhf.scoring import together
from rlhf.training.grouping import GroupedByLength
from rlhf.training.online.settings import PpoSettings
from rlhf.training.settings import AnyStage, KtoSettings, RewardModelSettings

_SAMPLE = 400


@dataclass(frozen=True)
class Tokens:
    """Some rows as tokens, and how many rows they stand for."""

    groups: tuple[Group, ...]
    rows: int
    longer: float
    """Share of the rows that `max_length` cuts, or leaves out."""

    @property
    def mean(self) -> float:
        """Tokens of a row."""
        return sum(g.tokens for g in self.groups) / max(1, len(self.groups))

    @property
    def total(self) -> float:
        """Tokens of all rows."""
        return self.mean * self.rows


@dataclass(frozen=True)
class Workload:
    """What will be run, counted in tokens."""

    tokens: Tokens
    steps: int
    looks: int
    """Validations, which are also checkpoints."""
    trained: float
    """Tokens forward and backward."""
    seen: float
    """Tokens forward alone: validations, the reference, a round's look at its answers."""
    drawn: float
    """Tokens that the policy draws."""
    proof_seen: float
    """Tokens forward after training, for the proof."""
    proof_drawn: float
    part: int
    """Tokens of the largest part that runs at once."""
    example: tuple[Group, ...]
    """A part of middling size."""


def tokens_of(
    settings: AnyStage,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    whole: bool = False,
) -> Tokens:
    """Rows of a stage as its trainer will see them; `whole` ones are not cut."""
    chosen = list(rows)
    if len(chosen) > _SAMPLE:
        chosen = random.Random(settings.seed).sample(chosen, _SAMPLE)
    found = [_group(settings, row, tokenizer) for row in chosen]
    if isinstance(settings, PpoSettings):
        longest = settings.max_prompt
        kept = [g for g in found if len(g.prompt) <= longest]
        answer = [0] * settings.sampling.max_new_tokens
        groups = [Group(g.prompt, [answer] * settings.samples) for g in kept]
    else:
        longest = settings.max_length
        kept = [g for g in found if _longest(g) <= longest]
        left_out = isinstance(settings, RewardModelSettings)
        groups = found if whole else kept if left_out else [_shortened(g, longest) for g in found]
    longer = 1 - len(kept) / max(1, len(found))
    return Tokens(tuple(groups), len(rows), longer)


def _group(settings: AnyStage, row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Group:
    if isinstance(settings, PpoSettings):
        return Group(render(tokenizer, tuple(row["prompt"]), row["style"]), [])
    prompt = _ids(tokenizer, row["prompt"], open_turn=True)
    dialogues = [
        _ids(tokenizer, [*row["prompt"], *row[name]], open_turn=False)
        for name in ("completion", "chosen", "rejected")
        if name in row
    ]
    if isinstance(settings, RewardModelSettings):
        return together(dialogues)
    return Group(prompt, [ids[len(prompt) :] for ids in dialogues])


def _ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any], *, open_turn: bool
) -> list[int]:
    """As TRL writes them."""
    ids: Any = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=open_turn, tokenize=True, return_dict=False
    )
    return [int(i) for i in ids]


def _longest(group: Group) -> int:
    return len(group.prompt) + max((len(c) for c in group.completions), default=0)


def _shortened(group: Group, longest: int) -> Group:
    prompt = group.prompt[:longest]
    return Group(prompt, [c[: longest - len(prompt)] for c in group.completions])


def workload(
    settings: AnyStage, train: Tokens, validation: Tokens, held_out: Tokens, passes: int
) -> Workload:
    """`passes`: how often the proof runs over the held-out rows."""
    if isinstance(settings, PpoSettings):
        return online(settings, train, validation, held_out, passes)
    return offline(settings, train, validation, held_out, passes)


def offline(
    settings: Any, train: Tokens, validation: Tokens, held_out: Tokens, passes: int
) -> Workload:
    """A stage on given rows."""
    size = settings.batch_size * settings.gradient_accumulation
    steps = max(1, math.ceil(settings.epochs * math.ceil(train.rows / size)))
    looks = 0
    if validation.rows:
        each = settings.eval_steps
        looks = math.ceil(settings.epochs) if each is None else max(1, steps // each)
    trained = train.total * settings.epochs
    seen = looks * validation.total
    if settings.stage in ("dpo", "kto"):
        seen += train.total + validation.total
    if isinstance(settings, KtoSettings):  # the answers to other prompts, for the KL term
        seen += trained + (looks + 1) * validation.total + train.total
    parts = _parts(train.groups, size, settings.tokens_at_once, settings.seed)
    return Workload(
        tokens=train,
        steps=steps,
        looks=looks,
        trained=trained,
        seen=seen,
        drawn=0.0,
        proof_seen=passes * held_out.total,
        proof_drawn=0.0,
        part=max(_size(part) for part in parts),
        example=_middling(parts),
    )


def online(
    settings: PpoSettings, train: Tokens, validation: Tokens, held_out: Tokens, passes: int
) -> Workload:
    """A stage on the policy's own answers, all as long as they may get."""
    answers = settings.prompts * settings.samples
    length = settings.sampling.max_new_tokens
    round_tokens = train.mean * settings.prompts
    looks = 0
    if validation.rows:
        looks = math.ceil(settings.updates / settings.held_out_every) + 1
    asked = min(validation.rows, settings.held_out_prompts)
    size = max(1, settings.prompts // settings.minibatches)
    parts = _parts(train.groups, size, settings.tokens_at_once, settings.seed)
    return Workload(
        tokens=train,
        steps=settings.updates * settings.epochs * settings.minibatches,
        looks=settings.updates // settings.save_every,
        trained=settings.updates * settings.epochs * round_tokens,
        seen=2 * settings.updates * round_tokens,
        drawn=length * (settings.updates * answers + looks * asked),
        proof_seen=2 * passes * held_out.rows * (train.mean / settings.samples + length),
        proof_drawn=passes * held_out.rows * length,
        part=max(_size(part) for part in parts),
        example=_middling(parts),
    )


def _parts(groups: Sequence[Group], size: int, budget: int, seed: int) -> list[list[Group]]:
    """What runs at once, step by step, as the trainer will group and cut the rows."""
    order = list(GroupedByLength([g.tokens for g in groups], size, seed))
    steps = [order[i : i + size] for i in range(0, len(order), size)]
    return [
        [groups[step[i]] for i in part]
        for step in steps
        for part in micro_batches([groups[i].tokens for i in step], budget)
    ]


def _size(part: Sequence[Group]) -> int:
    return sum(g.tokens for g in part)


def _middling(parts: Sequence[Sequence[Group]]) -> tuple[Group, ...]:
    ordered: Callable[[Sequence[Group]], int] = _size
    return tuple(sorted(parts, key=ordered)[len(parts) // 2])
