"""Dynamic batching: answers join and leave the batch between two tokens.

    waiting ──▶ prefill, some prompts together, a few hundred tokens a turn ──▶ rows ──▶ done
                                                                                 ╰─▶ a token a turn

A turn is short whatever comes, so that nobody's answer halts for another's long prompt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf.packed.adapters import Adapters, Lora
from rlhf.packed.decoding import decoding
from rlhf.sampling import Sampling, draw, ends_of
from rlhf.serving.engines import Ended
from rlhf.serving.engines.cache import Slots, bytes_of_token
from rlhf.serving.engines.text import Answer
from rlhf.serving.engines.wire import Told

# Prompt tokens a turn: about as long as a few tokens of a full batch take.
_PROMPT_TOKENS = 512


@dataclass
class Row:
    """One answer, from its prompt to its end."""

    number: int
    """What the asker knows it by."""
    prompt: list[int]
    adapter: str | None
    sampling: Sampling
    answer: Answer
    generator: torch.Generator
    drawn: int = 0
    last: int = 0
    untold: list[int] = field(default_factory=list)
    """Tokens whose text was not told yet."""
    told: bool = False
    """Whether anything was told yet."""

    @property
    def most(self) -> int:
        """Tokens that it can come to take in the cache."""
        return len(self.prompt) + self.sampling.max_new_tokens

    @property
    def position(self) -> int:
        """Of the token drawn last."""
        return len(self.prompt) + self.drawn - 1


@dataclass
class _Prefill:
    """Prompts on their way into the batch, padded on the left to one width."""

    rows: list[Row]
    tokens: Tensor
    positions: Tensor
    slots: Slots
    done: int = 0


class Batch:
    """The answers of one model, each row with an adapter of its own or with none."""

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, size: int, cache_bytes: float
    ) -> None:
        self.size = size
        self._most_tokens = cache_bytes / bytes_of_token(model.config, model.dtype)
        self.window = int(model.config.get_text_config().max_position_embeddings)
        self.adapters = Adapters()
        self._model = model.requires_grad_(False).eval()
        self._ends = ends_of(model, tokenizer)
        self._slots = Slots(model.config)
        self._rows: list[Row] = []
        self._waiting: deque[Row] = deque()
        self._prefill: _Prefill | None = None
        self._last = torch.tensor([-1], device=model.device)
        self._held = ExitStack()
        self._held.enter_context(decoding(model, self.adapters))

    @property
    def idle(self) -> bool:
        return not (self._rows or self._waiting or self._prefill)

    @property
    def numbers(self) -> list[int]:
        """Of all answers, under way and waiting."""
        under_way = [*self._rows, *(self._prefill.rows if self._prefill else ())]
        return [row.number for row in (*under_way, *self._waiting)]

    def add(self, row: Row) -> None:
        """Have one more answer to give, when its turn comes."""
        self._waiting.append(row)

    @torch.inference_mode()
    def cancel(self, number: int) -> None:
        """Give up an answer, wherever it is."""
        self._waiting = deque(row for row in self._waiting if row.number != number)
        if self._prefill:
            for row in self._prefill.rows:
                if row.number == number:  # it leaves once it is in the batch
                    row.number = -1
        for at, row in enumerate(self._rows):
            if row.number == number:
                self._leave(at)
                break

    def close(self) -> None:
        """Give the model back as it was, and forget all answers."""
        self.clear()
        self._held.close()

    def clear(self) -> None:
        """Forget all answers."""
        self._rows, self._prefill = [], None
        self._waiting.clear()
        self._slots = Slots(self._model.config)

    def add_adapter(self, name: str, lora: Lora) -> None:
        self.adapters.add(name, lora)

    @torch.inference_mode()
    def turn(self) -> list[Told]:
        """Read some of the prompts that wait, then draw a token for every row."""
        told = self._read_prompts()
        if self._rows:
            told += self._draw_a_token()
        return told

    # Prompts

    def _read_prompts(self) -> list[Told]:
        if self._prefill is None and self._waiting and self._fits([self._waiting[0]]):
            self._prefill = self._gathered()
        prefill = self._prefill
        if prefill is None:
            return []
        width = prefill.tokens.shape[1]
        step = max(1, _PROMPT_TOKENS // len(prefill.rows))
        until = min(width, prefill.done + step)
        here = slice(prefill.done, until)
        self.adapters.choose([row.adapter for row in prefill.rows])
        logits = self._forward(prefill.tokens[:, here], prefill.positions[:, here], prefill.slots)
        prefill.done = until
        if until < width:
            return []
        self._prefill = None
        self._slots.join(prefill.slots)
        self._rows += prefill.rows
        return self._take(
            list(enumerate(prefill.rows, len(self._rows) - len(prefill.rows))), logits
        )

    def _gathered(self) -> _Prefill:
        """Those that wait longest, as many as there is room for, of like length."""
        rows = [self._waiting.popleft()]
        longest = shortest = len(rows[0].prompt)
        kept: deque[Row] = deque()
        while self._waiting:
            row = self._waiting.popleft()
            longer, shorter = max(longest, len(row.prompt)), min(shortest, len(row.prompt))
            alike = (len(rows) + 1) * longer <= _PROMPT_TOKENS and longer <= 2 * shorter + 16
            if alike and self._fits([*rows, row]):
                rows.append(row)
                longest, shortest = longer, shorter
            else:
                kept.append(row)
        self._waiting = kept
        return self._padded(rows)

    def _fits(self, more: list[Row]) -> bool:
        """Whether there are places for them, and memory, as all rows are as wide as the longest."""
        rows = [*self._rows, *more]
        longest = max(min(row.most, self.window) for row in rows)
        return len(rows) == 1 or (
            len(rows) <= self.size and len(rows) * longest <= self._most_tokens
        )

    def _padded(self, rows: list[Row]) -> _Prefill:
        lengths = [len(row.prompt) for row in rows]
        width = max(lengths)
        device = self._model.device
        padded = [[0] * (width - len(row.prompt)) + row.prompt for row in rows]
        places = [[max(0, n - width + at) for at in range(width)] for n in lengths]
        slots = Slots(self._model.config, len(rows), width)
        slots.begin(lengths)
        return _Prefill(
            rows,
            torch.tensor(padded, device=device),
            torch.tensor(places, device=device),
            slots,
        )

    # Tokens

    def _draw_a_token(self) -> list[Told]:
        device = self._model.device
        tokens = torch.tensor([[row.last] for row in self._rows], device=device)
        positions = torch.tensor([[row.position] for row in self._rows], device=device)
        self._slots.make_room()
        self.adapters.choose([row.adapter for row in self._rows])
        logits = self._forward(tokens, positions, self._slots)
        return self._take(list(enumerate(self._rows)), logits)

    def _forward(self, tokens: Tensor, positions: Tensor, slots: Slots) -> Tensor:
        """Logits after the last of the tokens, `[rows, vocabulary]`."""
        new = tokens.shape[1]
        output = self._model(
            input_ids=tokens,
            attention_mask=slots.mask(new, tokens.device),
            position_ids=positions,
            past_key_values=slots,
            use_cache=True,
            logits_to_keep=self._last,
        )
        slots.advance(new)
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _take(self, rows: Sequence[tuple[int, Row]], logits: Tensor) -> list[Told]:
        """Draw each row's next token; those that end with it leave."""
        chosen = _drawn([row for _, row in rows], logits)
        told, left = [], []
        for (at, row), token in zip(rows, chosen, strict=True):
            news = self._news(row, token)
            if news.finish_reason or row.number < 0:
                left.append(at)
            if row.number >= 0 and (news.text or news.finish_reason):
                told.append(news)
                row.untold, row.told = [], True
        for at in reversed(left):
            self._leave(at)
        return told

    def _news(self, row: Row, token: int) -> Told:
        row.drawn += 1
        row.last = token
        row.untold.append(token)
        text = row.answer.add(token)
        finish: Ended | None = None
        if token in self._ends or row.answer.stopped:
            finish = "stop"
        elif row.drawn >= min(row.sampling.max_new_tokens, self.window - len(row.prompt)):
            finish = "length"
        if finish:
            text += row.answer.end()
            finish = "stop" if row.answer.stopped else finish
        prompt_tokens = None if row.told else len(row.prompt)
        return Told(row.number, text, row.untold, finish, prompt_tokens)

    def _leave(self, at: int) -> None:
        self._slots.leave(at)
        last = self._rows.pop()
        if at < len(self._rows):
            self._rows[at] = last


def _drawn(rows: Sequence[Row], logits: Tensor) -> list[int]:
    """One token a row, by its own sampling and its own random numbers."""
    uniform = torch.stack([torch.rand(1, generator=row.generator)[0] for row in rows])
    uniform = uniform.to(logits.device)
    alike: dict[tuple[float, float], list[int]] = {}
    for at, row in enumerate(rows):
        alike.setdefault((row.sampling.temperature, row.sampling.top_p), []).append(at)
    chosen = torch.empty(len(rows), dtype=torch.long)
    for places in alike.values():
        here = torch.tensor(places, device=logits.device)
        some = logits if len(places) == len(rows) else logits[here]
        chosen[places] = draw(some, rows[places[0]].sampling, uniform[here]).cpu()
    found: list[int] = chosen.tolist()
    return found
