"""Prompts in, completions out: one `Sampler` for simulation, evaluation, training and serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.chat import Message, render

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


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn. `temperature` 0 is greedy."""

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    batch_size: int = 32

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
    """A policy in this process, through transformers' `generate`."""

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
        completions: dict[int, Completion] = {}
        was_training = self.model.training
        self.model.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for start in range(0, len(order), sampling.batch_size):
                batch = order[start : start + sampling.batch_size]
                drawn = self._generate([ids[i] for i in batch], sampling)
                completions.update(zip(batch, drawn, strict=True))
                if self.on_progress is not None:
                    self.on_progress(len(batch))
        self.model.train(was_training)
        return [completions[i] for i in range(len(ids))]

    @torch.no_grad()
    def _generate(self, prompts: list[list[int]], sampling: Sampling) -> list[Completion]:
        width = max(len(p) for p in prompts)
        pad, eos = self._special_ids()
        device = self.model.device
        inputs = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        greedy = sampling.temperature == 0
        draw: dict[str, Any] = (
            {"do_sample": False}
            if greedy
            else {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
            }
        )
        output = self.model.generate(  # type: ignore[operator]
            input_ids=inputs,
            attention_mask=mask,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=eos,
            pad_token_id=pad,
            **draw,
        )
        return [self._completion(row, set(eos)) for row in output[:, width:].tolist()]

    def _completion(self, row: list[int], eos: set[int]) -> Completion:
        """Cut at the first EOS: what follows is padding."""
        end = next((i for i, t in enumerate(row) if t in eos), None)
        body = row if end is None else row[: end + 1]
        text = str(self.tokenizer.decode(body, skip_special_tokens=True))
        return Completion(text.strip(), tuple(body), "length" if end is None else "stop")

    def _special_ids(self) -> tuple[int, list[int]]:
        config = self.model.generation_config
        eos = config.eos_token_id if config is not None else None
        if eos is None:
            eos = self.tokenizer.eos_token_id
        ends = [int(e) for e in eos] if isinstance(eos, list) else [int(eos)]
        pad = self.tokenizer.pad_token_id
        return (ends[0] if pad is None else int(pad)), ends
