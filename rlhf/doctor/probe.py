"""A few layers of the model, with random weights, trained for a moment: what a token costs here.

Memory is counted and time is taken by the very engine that trains, on some of the rows that will
be trained on, so there is no table of models or machines. A model's layers are alike: the cost of
all is that of a few, and what stands around them, embeddings and head, is measured beside them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from transformers import DynamicCache

from rlhf.doctor.live_bytes import live_bytes
from rlhf.doctor.parameters import Parameters, Recipe, build, cut, layers_of, on_each_layer
from rlhf.packed import Engine, Group
from rlhf.packed.decoding import decoding
from rlhf.scoring import head_scores

# Multiplications of one pass over the rows that are tried, and how often it is taken.
_WORK = 2.5e10
_REPEATS = 3

# A model of so many layers tells what one costs; so few words that the head costs nothing.
_LAYERS = 4
_WORDS = 256

_DRAWN = 6


@dataclass(frozen=True)
class Probe:
    """What was measured, as the whole model's."""

    train_s: float
    """Seconds a token, forward and backward."""
    forward_s: float
    """Seconds a token without a gradient."""
    draw_s: float
    """Seconds a token that is drawn, in a batch of `drawn_at_once`; 0 where none was asked."""
    layer_bytes: float
    """What one layer keeps of a token for the backward pass."""
    around_bytes: float
    """What is held besides at the worst moment, above all by the head."""
    step_s: float
    """Seconds of an optimizer's step."""


def probe(
    config: Any,
    recipe: Recipe,
    counts: Parameters,
    groups: Sequence[Group],
    drawn_at_once: int = 0,
) -> Probe:
    """Measure on the first of `groups`: as many as fit a moment's work."""
    layers, recipe = layers_of(config), on_each_layer(recipe)
    some = _affordable(groups, counts)
    tokens = sum(g.tokens for g in some)
    thin = _Trial(cut(config, 1), recipe)
    few = _Trial(cut(config, min(_LAYERS, layers), _WORDS), recipe)
    costs = _Costs(few, thin, layers)
    draw = 0.0
    if drawn_at_once:
        prompt = groups[0].prompt
        draw = costs.seconds(lambda trial: trial.draw(prompt, drawn_at_once))
    # Without a large head, whose own worst moment may come when no layer holds anything.
    one = _Trial(cut(config, 1, _WORDS), recipe).bytes(some)
    per_layer = (few.bytes(some) - one) / max(1, few.layers - 1)
    return Probe(
        train_s=costs.seconds(lambda trial: trial.train(some)) / tokens,
        forward_s=costs.seconds(lambda trial: trial.look(some)) / tokens,
        draw_s=draw / (_DRAWN * max(1, drawn_at_once)),
        layer_bytes=per_layer / tokens,
        around_bytes=max(0.0, thin.bytes(some) - per_layer),
        step_s=thin.step() * counts.trainable / thin.trainable,
    )


@dataclass(frozen=True)
class _Costs:
    """What is measured on two small models, as the whole one's."""

    few: _Trial
    """Some layers, and nearly no head."""
    thin: _Trial
    """One layer, and the whole head."""
    layers: int

    def seconds(self, work: Callable[[_Trial], None]) -> float:
        """Of something that every layer takes part in."""
        layer = _seconds(lambda: work(self.few)) / self.few.layers
        around = max(0.0, _seconds(lambda: work(self.thin)) - layer)
        return around + self.layers * layer


class _Trial:
    """A small model in its engine."""

    def __init__(self, config: Any, recipe: Recipe) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.layers = layers_of(config)
        self.words = int(config.get_text_config().vocab_size)
        self.model = build(copy.deepcopy(config), recipe).to(device)
        self.scores = recipe.scores
        if recipe.checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self.model.enable_input_require_grads()
        self.engine = Engine(self.model, head=not recipe.scores)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]

    @property
    def trainable(self) -> int:
        """Numbers that training moves."""
        return sum(p.numel() for p in self.trained)

    def train(self, groups: Sequence[Group]) -> None:
        """One forward and one backward pass."""
        self.model.train()
        with self.engine.on():
            self._loss(groups).backward()
        self._wait()

    @torch.no_grad()
    def look(self, groups: Sequence[Group]) -> None:
        """One forward pass."""
        self.model.eval()
        with self.engine.on():
            self._loss(groups)
        self._wait()

    @torch.no_grad()
    def draw(self, prompt: Sequence[int], rows: int) -> None:
        """A few tokens after a prompt, for so many rows at once, drawn as a sampler draws them."""
        self.model.eval()
        ids = [[word % self.words for word in prompt]] * rows
        tokens = torch.tensor(ids, device=self.model.device)
        cache = DynamicCache(config=self.model.config)
        with decoding(self.model):
            for _ in range(_DRAWN):
                output = self.model(
                    input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                shares = output.logits[:, -1].float().softmax(-1).cumsum(-1)
                tokens = torch.searchsorted(shares, torch.rand_like(shares[:, :1]))
                tokens = tokens.clamp(max=self.words - 1)
        self._wait()

    def bytes(self, groups: Sequence[Group]) -> int:
        """The most that a forward and a backward pass held at once, gradients left out."""
        self.train(groups)  # the gradients are there from now on
        if torch.cuda.is_available():
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self.train(groups)
            return torch.cuda.max_memory_allocated() - before
        with live_bytes() as held:
            self.train(groups)
        return held.most

    def step(self) -> float:
        """Seconds in which the gradient is shortened and the weights move."""
        optimizer = torch.optim.AdamW(self.trained, fused=True)

        def move() -> None:
            torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
            optimizer.step()
            self._wait()

        return _seconds(move)

    def _loss(self, groups: Sequence[Group]) -> torch.Tensor:
        known = [_known(g, self.words) for g in groups]
        if self.scores:
            return head_scores(self.engine.causal.score, self.engine.last_states(known)).sum()
        return -self.engine.score(known).logprobs.mean()

    def _wait(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()


def _known(group: Group, words: int) -> Group:
    """The group in the words of a smaller vocabulary."""
    return Group(
        [word % words for word in group.prompt],
        [[word % words for word in c] for c in group.completions],
    )


def _affordable(groups: Sequence[Group], counts: Parameters) -> list[Group]:
    most = _WORK / (counts.head + _LAYERS * counts.layer)
    chosen: list[Group] = []
    for group in groups:
        if chosen and sum(g.tokens for g in chosen) + group.tokens > most:
            break
        chosen.append(group)
    return chosen


def _seconds(work: Callable[[], None]) -> float:
    """Of one run, the first one not counted."""
    work()
    found = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return median(found)
