"""TRL's trainers with the batch and the forward replaced.

What they know of formats, arguments, PEFT and callbacks stays. A batch is the rows of one step; its
forward and backward passes run over parts of it, packed, as large as memory is given. So neither
that size nor gradient accumulation changes what is learned, beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Sampler
from transformers.trainer_utils import EvalLoopOutput

from rlhf.errors import UsageError
from rlhf.packed import Engine, Group, micro_batches
from rlhf.training.grouping import GroupedByLength
from rlhf.training.reference import Reference

Rows = Sequence[Mapping[str, Any]]
Measured = dict[str, Tensor]
_ANSWERS = ("completion", "chosen", "rejected")


def as_rows(rows: Rows) -> dict[str, Rows]:
    """A collator that leaves rows as they are."""
    return {"rows": rows}


class PackedTrainer:
    """Mixed into a trainer of TRL's, before it; a stage says what a row is and what it costs."""

    # The trainer's own.
    model: Any
    args: Any
    accelerator: Any
    train_dataset: Any
    processing_class: Any
    is_deepspeed_enabled: bool
    is_fsdp_enabled: bool
    _metrics: Any
    _signature_columns: list[str] | None

    def __init__(
        self, *, tokens_at_once: int, reference: Reference | None = None, **own: Any
    ) -> None:
        self.tokens_at_once = tokens_at_once
        self.reference = reference
        super().__init__(data_collator=as_rows, **own)  # type: ignore[call-arg]
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            raise UsageError("training shards no weights: FSDP and DeepSpeed are not supported")

    @cached_property
    def engine(self) -> Engine:
        """On the bare model: what DDP wraps around it is not asked, see `_add_up_gradients`."""
        return Engine(self.model)

    # What a stage says

    def group(self, row: Mapping[str, Any]) -> Group:
        """The row's token ids."""
        raise NotImplementedError

    def mass(self, row: Mapping[str, Any]) -> float:
        """What the row adds to the denominator of the step's loss."""
        raise NotImplementedError

    def before_step(self, rows: Rows) -> Any:
        """What must be known of all of a step's rows before the first part is run."""
        return None

    def total(self, rows: Rows, groups: Sequence[Group], known: Any) -> tuple[Tensor, Measured]:
        """Weighted losses of some rows, summed, and what is to be logged: `[rows]` each."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """What the policy's manifest says of the trained weights beside their lineage."""
        return {}

    # A step

    def training_step(
        self, model: Any, inputs: Mapping[str, Rows], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward over the step's rows; the mean loss, for the log."""
        model.train()
        loss = self._run(inputs["rows"], self.accelerator.backward, "train")
        self._add_up_gradients()
        return loss

    def compute_loss(self, model: Any, inputs: Mapping[str, Rows], *_: Any, **__: Any) -> Tensor:
        """The step's loss without a backward pass."""
        with torch.no_grad():
            return self._run(inputs["rows"], lambda part: None, "eval")

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The mean loss over all rows, as one step; processes share the rows.

        In several steps, processes whose shares differ would wait for each other for ever.
        """
        self.model.eval()
        every = list(dataloader.dataset)
        rows = every[self.accelerator.process_index :: self.accelerator.num_processes]
        with torch.no_grad():
            total, counted = self._summed(rows, lambda part: None, "eval", 1.0)
        loss, mass = self._everywhere(total), self._everywhere(counted)
        metrics = {f"{metric_key_prefix}_loss": loss / max(mass, 1e-9)}
        return EvalLoopOutput(None, None, metrics, num_samples=len(every))  # type: ignore[arg-type]

    def _run(self, rows: Rows, on_part: Callable[[Tensor], None], mode: str) -> Tensor:
        everywhere = self._everywhere(sum(map(self.mass, rows)))
        total, _ = self._summed(rows, on_part, mode, max(everywhere, 1e-9))
        # The trainer logs the mean over processes, and each holds a part of the sum.
        share = total * self.accelerator.num_processes
        return torch.tensor(share, device=self.accelerator.device)

    def _summed(
        self, rows: Rows, on_part: Callable[[Tensor], None], mode: str, mass: float
    ) -> tuple[float, float]:
        """The rows' losses over `mass`, summed, and the rows' own mass."""
        groups = [self.group(row) for row in rows]
        found = 0.0
        measured: dict[str, list[Tensor]] = {}
        with self.engine.on():
            known = self.before_step(rows)
            for part in micro_batches([g.tokens for g in groups], self.tokens_at_once):
                total, seen = self.total([rows[i] for i in part], [groups[i] for i in part], known)
                loss = total / mass
                on_part(loss)
                found += float(loss.detach())
                for name, values in seen.items():
                    measured.setdefault(name, []).append(values.detach())
        for name, parts in measured.items():
            values = torch.cat(parts)
            if len(values):
                self._metrics[mode][name].append(float(values.float().mean()))
        return found, sum(map(self.mass, rows))

    def _everywhere(self, value: float) -> float:
        """Summed over all processes."""
        if self.accelerator.num_processes == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.reduce(shared, "sum"))

    def _add_up_gradients(self) -> None:
        """Each process has its rows' part of the step's mean, so the parts are summed.

        DDP would do so in a forward pass of its own, which the engine goes around.
        """
        if self.accelerator.num_processes == 1:
            return
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                torch.distributed.all_reduce(parameter.grad)

    def reference_sums(self, groups: Sequence[Group]) -> list[list[float]]:
        """log p of each completion by the stage's start; called while the model still is that."""
        if self.reference is None:
            raise TypeError("a policy stage must be told where its reference is kept")
        return self.reference.sums(self.engine, groups, self.tokens_at_once)

    # The rows

    def _set_signature_columns_if_needed(self) -> None:
        """The trainer would drop the weights without a word."""
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        if self._signature_columns is not None and "weight" not in self._signature_columns:
            self._signature_columns += ["weight", *(f"unfinished_{name}" for name in _ANSWERS)]

    def prompted(self, row: Mapping[str, Any], *names: str) -> Group:
        """A prompt with the completions of those columns, cut at their end as TRL does."""
        prompt, longest = row["prompt_ids"], self.args.max_length
        room = None if longest is None else longest - len(prompt)
        answers = [self.ended(row, name.removesuffix("_ids"), row[name]) for name in names]
        return Group(prompt, [answer[:room] for answer in answers])

    def ended(self, row: Mapping[str, Any], name: str, ids: Sequence[int]) -> Sequence[int]:
        """An answer's ids, without the end that the template gave to one that never ended.

        With it, a policy would learn to stop in the middle of a sentence, or, where the answer was
        rejected, that stopping is wrong.
        """
        end = self.processing_class.eos_token_id
        if not row.get(f"unfinished_{name}") or end not in ids:
            return ids
        return ids[: len(ids) - 1 - list(reversed(ids)).index(end)]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [self.group(row).tokens for row in self.train_dataset]
        return GroupedByLength(lengths, self.args.train_batch_size, self.args.seed)


def weights_of(rows: Rows, device: Any) -> Tensor:
    """The rows' weights, 1 where none is said: float32 `[rows]`."""
    return torch.tensor([float(row.get("weight", 1.0)) for row in rows], device=device)


def column(rows: Rows, name: str, device: Any) -> Tensor:
    """A column of numbers, float32 `[rows]`."""
    return torch.tensor([float(row[name]) for row in rows], device=device)
