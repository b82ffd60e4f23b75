"""Prompts and their completions as log-probabilities, packed: the heart of every stage.

Several prompts stand in one row without padding, a prompt once for all its completions and what all
prompts begin with once for all; logits exist at completion positions only. The result is that of
each prompt and completion run alone, with its gradient. A model family that cannot be packed is
found out when it is loaded, and is padded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from rlhf.errors import PolicyError
from rlhf.packed.attention import NAME
from rlhf.packed.head import Entropy, logits_of, token_scores
from rlhf.packed.kernels import fused
from rlhf.packed.layout import Group, Row, row_of
from rlhf.packed.memory import keep_freed_memory

# Tokens in one forward pass. On a processor more brings no speed, and memory grows with it.
TOKENS_AT_ONCE = 2048


@dataclass(frozen=True)
class Scores:
    """What the completions' tokens got, those of one completion after those of the one before."""

    logprobs: Tensor
    """float32 `[N]`, differentiable."""
    owner: Tensor
    """Number of the completion that each token belongs to, `[N]`."""
    lengths: tuple[int, ...]
    """Tokens of each completion."""
    entropies: Tensor | None = None
    """Of the distribution that each token was one draw of, in nats: float32 `[N]`, on request."""
    states: Tensor | None = None
    """The final hidden states that the tokens were predicted from, `[N, H]`, on request."""

    def sums(self) -> Tensor:
        """log p of each completion given its prompt, float32 `[completions]`."""
        total = self.logprobs.new_zeros(len(self.lengths))
        return total.index_add(0, self.owner, self.logprobs)

    def rows(self) -> tuple[Tensor, ...]:
        """The log-probabilities of each completion."""
        return torch.split(self.logprobs, list(self.lengths))


def micro_batches(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in order, cut so that each part's sizes sum to at most `budget` (or it has one)."""
    parts: list[list[int]] = []
    held = 0
    for index, size in enumerate(sizes):
        if not parts or held + size > budget:
            parts.append([])
            held = 0
        parts[-1].append(index)
        held += size
    return parts


class Engine:
    """A model with what is needed to run it packed; `with engine.on():` around all that it does."""

    def __init__(self, model: Any, *, head: bool = True) -> None:
        """`head=False` for a model without an LM head: it has `last_states` and no `score`."""
        keep_freed_memory()
        # PEFT puts its layers into the model that it wraps: the inner one is the whole policy.
        self.causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        if head:
            _check_head(self.causal)
        self.packs = packs(self.causal)
        if not self.packs:
            kind = type(self.causal).__name__
            warnings.warn(f"{kind} cannot be packed; its rows are padded instead", stacklevel=2)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Also around the backward pass: gradient checkpointing runs layers again there."""
        with packed(self.causal) if self.packs else nullcontext():
            yield

    def score(
        self,
        groups: Sequence[Group],
        *,
        temperature: float = 1.0,
        entropy: Entropy | None = None,
        states: bool = False,
    ) -> Scores:
        """Log-probabilities of all completions' tokens, in one forward pass.

        They are those of drawing at `temperature`. See `head.token_scores` for `entropy`.
        """
        completions = [c for g in groups for c in g.completions]
        lengths = tuple(map(len, completions))
        device = self.causal.device
        targets = torch.tensor([t for c in completions for t in c], device=device)
        owner = torch.arange(len(lengths), device=device).repeat_interleave(
            torch.tensor(lengths, device=device)
        )
        before = self._states(groups)
        logprobs, entropies = token_scores(
            self.causal, before, targets, temperature=temperature, entropy=entropy
        )
        return Scores(logprobs, owner, lengths, entropies, before if states else None)

    def last_states(self, groups: Sequence[Group]) -> Tensor:
        """The final hidden state at each completion's last token, `[completions, H]`."""
        return self._states(groups, last=True)

    @torch.no_grad()
    def rows(
        self,
        groups: Sequence[Group],
        budget: int = TOKENS_AT_ONCE,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[tuple[Tensor, ...]]:
        """Each group's completions' token log-probabilities, float32, in parts; no gradient."""
        order = sorted(range(len(groups)), key=lambda i: (groups[i].tokens, i))
        found: dict[int, tuple[Tensor, ...]] = {}
        for part in micro_batches([groups[i].tokens for i in order], budget):
            chosen = [order[i] for i in part]
            scores = iter(self.score([groups[i] for i in chosen]).rows())
            for i in chosen:
                found[i] = tuple(next(scores) for _ in groups[i].completions)
            if on_progress is not None:
                on_progress(len(part))
        return [found[i] for i in range(len(groups))]

    def sums(
        self,
        groups: Sequence[Group],
        budget: int = TOKENS_AT_ONCE,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Tensor]:
        """log p of each group's completions, float32 `[completions]`; no gradient."""
        rows = self.rows(groups, budget, on_progress)
        return [torch.stack([row.sum() for row in completions]) for completions in rows]

    def _states(self, groups: Sequence[Group], last: bool = False) -> Tensor:
        """States that predict the completions' tokens, or those at completions' ends: `[N, H]`."""
        if not self.packs:
            return _padded_states(self.causal, groups, last)
        if self.causal.config.get_text_config()._attn_implementation != NAME:
            raise RuntimeError("outside `engine.on()` completions would see each other")
        row = row_of(groups, self.causal.device)
        return _packed_states(self.causal, row)[row.last if last else row.predictors]


@contextmanager
def packed(causal: Any) -> Iterator[None]:
    """The model asks packed attention, and its layers run fused, until this ends."""
    config = causal.config.get_text_config()
    was = config._attn_implementation
    config._attn_implementation = NAME
    try:
        with fused(causal):
            yield
    finally:
        config._attn_implementation = was


def packs(causal: Any) -> bool:
    """Whether packing gives what rows of their own give, seen on a few made-up tokens."""
    size = int(causal.config.get_text_config().vocab_size)
    tokens = [(7 * i * i + 3 * i + 1) % size for i in range(40)]
    groups = [
        Group(tokens[:5], [tokens[5:12], tokens[12:15], tokens[15:25]]),
        Group(tokens[25:32], [tokens[32:40]]),
    ]
    row = row_of(groups, causal.device)
    training = causal.training
    causal.eval()
    try:
        with torch.no_grad():
            alone = _padded_states(causal, groups, last=False).float()
            with packed(causal):
                together = _packed_states(causal, row)[row.predictors]
                # Attention has dropout in training only; this takes no draws from the training's.
                with torch.random.fork_rng(_generators(causal.device)):
                    _packed_states(causal.train(), row)
    except (NotImplementedError, TypeError, ValueError, KeyError, RuntimeError):
        return False
    finally:
        causal.train(training)
    # Rounding in bfloat16 stays well below this; a token that sees another's past does not.
    return bool((together.float() - alone).norm() <= 0.05 * alone.norm())


def _check_head(causal: Any) -> None:
    """Raise `PolicyError` for a model that does more after its backbone than `head` knows of."""
    ids = torch.tensor([[1, 2, 3]], device=causal.device)
    training = causal.training
    causal.eval()
    try:
        with torch.no_grad():
            expected = causal(input_ids=ids, use_cache=False).logits.float()
            hidden = _backbone(causal)(input_ids=ids, use_cache=False).last_hidden_state
            found = logits_of(causal)(hidden)
    finally:
        causal.train(training)
    if (found - expected).norm() > 0.02 * expected.norm():
        raise PolicyError(
            f"{type(causal).__name__} computes its logits in a way that is not known here, so its "
            "log-probabilities would be wrong; use a model of another family"
        )


def _backbone(causal: Any) -> Any:
    """The model without its head."""
    return causal.base_model


def _packed_states(causal: Any, row: Row) -> Tensor:
    """The final hidden states of a row's tokens, `[T, H]`."""
    states: Tensor = _backbone(causal)(
        input_ids=row.ids, position_ids=row.positions, use_cache=False, layout=row.layout
    ).last_hidden_state[0]
    return states


def _generators(device: torch.device) -> list[torch.device]:
    """The GPU whose random numbers a model's dropout would take, besides the processor's."""
    return [device] if device.type == "cuda" else []


def _padded_states(causal: Any, groups: Sequence[Group], last: bool) -> Tensor:
    """The same from one row for each completion, padded on the right, where no token looks back."""
    rows = [(list(g.prompt), list(c)) for g in groups for c in g.completions]
    width = max(len(p) + len(c) for p, c in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, (prompt, completion) in enumerate(rows):
        ids[number, : len(prompt) + len(completion)] = torch.tensor(prompt + completion)
        mask[number, : len(prompt) + len(completion)] = 1
    hidden = _backbone(causal)(
        input_ids=ids.to(causal.device), attention_mask=mask.to(causal.device), use_cache=False
    ).last_hidden_state
    if last:
        return torch.stack([hidden[i, len(p) + len(c) - 1] for i, (p, c) in enumerate(rows)])
    spans = [hidden[i, len(p) - 1 : len(p) + len(c) - 1] for i, (p, c) in enumerate(rows)]
    return torch.cat(spans)
