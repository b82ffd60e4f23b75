"""Policies that the local engine holds: one base with many LoRAs, and whole models beside it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from rlhf.chat import render
from rlhf.errors import DataError
from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.packed.adapters import read_lora
from rlhf.policies import Policy, check_base, load_policy, verify_policy
from rlhf.serving.engines import EngineFailed
from rlhf.serving.engines.batching import Batch, Row
from rlhf.serving.engines.text import Answer
from rlhf.serving.engines.wire import Question, Told


@dataclass(frozen=True)
class _Resident:
    """Where a policy's rows go, and by which adapter."""

    batch: Batch
    adapter: str | None


class Residents:
    """Answers by the policies at hand.

    `load` and `asked` may be called from other threads; the rest belongs to the one that draws.
    """

    def __init__(self, settings: ModelSettings, batch_size: int, cache_gb: float) -> None:
        self._settings, self._size, self._cache_bytes = settings, batch_size, cache_gb * 1e9
        # One a thread: a fast tokenizer may not be asked by two at once.
        self._reading, self._writing = load_tokenizer(settings), load_tokenizer(settings)
        self._base: Any = load_base(settings)
        self._batch = self._batch_of(self._base)
        self._residents: dict[str, _Resident] = {}

    @property
    def idle(self) -> bool:
        return all(batch.idle for batch in self._batches())

    def turn(self, broke: Callable[[int, Exception], None]) -> list[Told]:
        """A token for every row; whole models take turns. A batch that fails loses its rows."""
        told: list[Told] = []
        for batch in self._batches():
            if batch.idle:
                continue
            try:
                told += batch.turn()
            except (RuntimeError, ValueError, IndexError, MemoryError) as error:
                # What the message says may be about a user's text, so its kind has to do.
                failure = EngineFailed(f"the model failed at a step ({type(error).__name__})")
                for number in batch.numbers:
                    broke(number, failure)
                batch.clear()
        return told

    def load(self, policy: Policy) -> Callable[[], None]:
        """Read a policy beside the work under way; what comes back puts it in, in a moment.

        Raises `PolicyError` and `UsageError` as `load_policy` does.
        """
        if policy.label in self._residents:
            return lambda: None
        check_base(self._settings, policy)
        if policy.kind == "base":
            return lambda: self._put(policy.label, _Resident(self._batch, None))
        if policy.kind == "lora" and policy.folder is not None:
            verify_policy(policy)
            lora = read_lora(self._base, policy.folder)
            if lora is not None:
                return lambda: self._put_adapter(policy.label, lora)
        batch = self._batch_of(load_policy(self._settings, policy))
        return lambda: self._put(policy.label, _Resident(batch, None))

    def drop(self, label: str) -> None:
        """Forget a policy, and free what it took."""
        resident = self._residents.pop(label, None)
        if resident is None:
            return
        if resident.adapter is not None:
            resident.batch.adapters.remove(resident.adapter)
        elif resident.batch is not self._batch:
            resident.batch.close()
            del resident
            gc.collect()

    def asked(self, question: Question) -> Callable[[], None]:
        """Read a question; what comes back lines it up. Raises `DataError` for a bad prompt."""
        prompt = render(self._reading, question.messages, question.style)
        window = self._batch.window
        if len(prompt) >= window:
            raise DataError(
                f"the prompt has {len(prompt)} tokens, and the model reads {window} with its "
                "answer; shorten it"
            )
        return lambda: self._line_up(question, prompt)

    def cancel(self, number: int) -> None:
        for batch in self._batches():
            batch.cancel(number)

    def _line_up(self, question: Question, prompt: list[int]) -> None:
        resident = self._residents.get(question.policy)
        if resident is None:
            raise EngineFailed(f"policy {question.policy} is not at hand")
        resident.batch.add(
            Row(
                number=question.number,
                prompt=prompt,
                adapter=resident.adapter,
                sampling=question.sampling,
                answer=Answer(self._writing, question.stop),
                generator=torch.Generator().manual_seed(question.seed),
            )
        )

    def _batches(self) -> list[Batch]:
        own = (r.batch for r in self._residents.values() if r.batch is not self._batch)
        return [self._batch, *own]

    def _batch_of(self, model: Any) -> Batch:
        return Batch(model, self._writing, self._size, self._cache_bytes)

    def _put(self, label: str, resident: _Resident) -> None:
        self._residents.setdefault(label, resident)

    def _put_adapter(self, label: str, lora: Any) -> None:
        if label not in self._residents:
            self._batch.adapters.add(label, lora)
            self._put(label, _Resident(self._batch, label))
