"""Prompts in, completions out: one `Sampler` for simulation, evaluation, training and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from rlhf.chat import Message, render
from rlhf.packed.decoding import decoding

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Prompt:
    """What is asked: the turns so far and the style asked for."""

    messages: tuple[Message, ...]
    style: str | None = None


@dataclass(frozen=True)
class Completion:
    """An answer as text and as the token ids that were drawn (with EOS where there was one)."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[float, ...] | None = None
    """Of the tokens, by a sampler whose weights or numbers are not quite the policy's."""


@checked(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class Sampling:
    """How answers are drawn."""

    max_new_tokens: int = Field(default=64, ge=1)
    """Tokens of an answer, at most."""
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Below 1 likely tokens gain; 0 always takes the likeliest."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draws from the likeliest tokens that together reach this probability."""
    batch_size: int = Field(default=32, ge=1)
    """Prompts answered at once; does not change what is said, but for rounding."""

    def as_dict(self) -> dict[str, str | bool | int | float | None]:
        """For the record kept with every answer."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }


class Sampler(Protocol):
    """Draws one completion for each prompt, in the order given."""

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int
    ) -> list[Completion]:
        """The same prompts, sampling and seed give the same completions on the same machine."""
        ...


class LocalSampler:
    """A policy in this process: batched decoding with a cache, finished rows leave the batch."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.on_progress = on_progress

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int
    ) -> list[Completion]:
        """Prompts of like length share a batch, so that little is spent on padding."""
        ids = [render(self.tokenizer, p.messages, p.style) for p in prompts]
        order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), i))
        generator = torch.Generator().manual_seed(seed)
        completions: dict[int, Completion] = {}
        was_training = self.model.training
        self.model.eval()
        with decoding(self.model):
            for start in range(0, len(order), sampling.batch_size):
                batch = order[start : start + sampling.batch_size]
                drawn = self._decode([ids[i] for i in batch], sampling, generator)
                completions.update(
                    (i, self._completion(row)) for i, row in zip(batch, drawn, strict=True)
                )
                if self.on_progress is not None:
                    self.on_progress(len(batch))
        self.model.train(was_training)
        return [completions[i] for i in range(len(ids))]

    @torch.no_grad()
    def _decode(
        self, prompts: list[list[int]], sampling: Sampling, generator: torch.Generator
    ) -> list[list[int]]:
        """Token ids drawn after each prompt, with the EOS that ended them."""
        device, ends = self.model.device, ends_of(self.model, self.tokenizer)
        once = list(dict.fromkeys(map(tuple, prompts)))
        tokens, mask = _left_padded(once, device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        # As a tensor: the slice that a number asks for makes torch copy the head for every row.
        last = torch.tensor([-1], device=device)
        drawn: list[list[int]] = [[] for _ in prompts]
        rows = list(range(len(prompts)))
        for step in range(sampling.max_new_tokens):
            output: Any = self.model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=last,
            )
            logits = output.logits[:, -1].float()
            if step == 0 and len(once) < len(prompts):  # several answers to a prompt that ran once
                asked = torch.tensor([once.index(tuple(p)) for p in prompts], device=device)
                cache.batch_select_indices(asked)
                logits, mask, positions = logits[asked], mask[asked], positions[asked]
            # Every row of the batch gets a number, also those that are done: what a row draws
            # does not hang on when its neighbours end.
            uniform = torch.rand(len(prompts), generator=generator)[rows].to(device)
            chosen = draw(logits, sampling, uniform)
            for row, token in zip(rows, chosen.tolist(), strict=True):
                drawn[row].append(token)
            alive = [i for i, row in enumerate(rows) if drawn[row][-1] not in ends]
            if not alive:
                break
            if len(alive) < len(rows):
                keep = torch.tensor(alive, device=device)
                cache.batch_select_indices(keep)
                mask, positions, chosen = mask[keep], positions[keep], chosen[keep]
                rows = [rows[i] for i in alive]
            tokens = chosen[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)
            positions = positions[:, -1:] + 1
        return drawn

    def _completion(self, ids: list[int]) -> Completion:
        stopped = bool(ids) and ids[-1] in ends_of(self.model, self.tokenizer)
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        return Completion(text.strip(), tuple(ids), "stop" if stopped else "length")


def ends_of(model: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The token ids that end an answer."""
    config = model.generation_config
    eos = None if config is None else config.eos_token_id
    if eos is None:
        eos = tokenizer.eos_token_id
    return frozenset(int(e) for e in eos) if isinstance(eos, list) else frozenset({int(eos)})


def _left_padded(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, `[rows, longest]`; padding is masked, so its id is of no account."""
    width = max(len(p) for p in prompts)
    tokens = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    return tokens, mask


# A nucleus of 0.95 rarely holds more tokens than this; finding it so spares a full sort a step.
_NUCLEUS = 256


def draw(logits: torch.Tensor, sampling: Sampling, uniform: torch.Tensor) -> torch.Tensor:
    """One token a row from `[rows, vocabulary]` logits and one uniform number a row.

    By the inverse of the cumulative distribution: noise for every vocabulary entry, as
    `torch.multinomial` draws it, costs more than the model's head on a processor.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits / sampling.temperature).softmax(-1)
    if sampling.top_p >= 1:
        return _invert(probabilities, uniform)
    chosen = torch.empty(len(uniform), dtype=torch.long, device=uniform.device)
    size = min(_NUCLEUS, probabilities.shape[-1])
    top, index = probabilities.topk(size, dim=-1)
    wide = top.sum(-1) < sampling.top_p
    narrow = ~wide
    chosen[narrow] = _from_nucleus(top[narrow], index[narrow], sampling.top_p, uniform[narrow])
    if bool(wide.any()):
        top, index = probabilities[wide].sort(dim=-1, descending=True)
        chosen[wide] = _from_nucleus(top, index, sampling.top_p, uniform[wide])
    return chosen


def _from_nucleus(
    top: torch.Tensor, index: torch.Tensor, top_p: float, uniform: torch.Tensor
) -> torch.Tensor:
    """Draw among the likeliest tokens, `top` in falling order with their ids in `index`."""
    # A token belongs to the nucleus when those before it do not yet fill it (Holtzman 2020).
    before = top.cumsum(-1) - top
    nucleus = top * (before < top_p)
    return index.gather(-1, _invert(nucleus, uniform)[:, None]).squeeze(-1)


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    cumulative = weights.cumsum(-1)
    target = (uniform * cumulative[:, -1])[:, None]
    # right=True never lands on an entry of weight 0; clamp guards the last one's rounding.
    found = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    return found.clamp(max=weights.shape[-1] - 1)
