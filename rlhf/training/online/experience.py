"""A round's answers with all that an update needs to know of them, computed before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rlhf.packed import Group, micro_batches
from rlhf.training.losses import kl_estimates
from rlhf.training.online import advantages as by
from rlhf.training.online.advantages import Reduce, Rollout
from rlhf.training.online.backbone import Backbone
from rlhf.training.online.settings import PpoSettings
from rlhf.training.online.tally import Tally

# A sampler that is not quite the policy: no token counts more than so often (Yao et al. 2025).
_MOST_CORRECTION = 2.0

Estimate = tuple[Tensor, Tensor]
_ESTIMATORS: dict[str, Callable[[Rollout, PpoSettings, Reduce], Estimate]] = {
    "ppo": lambda r, s, reduce: _whitened(by.gae(r, s.gamma, s.lam), r, reduce),
    "rloo": lambda r, s, reduce: (by.rloo(r), r.values),
    "grpo": lambda r, s, reduce: (by.grpo(r), r.values),
    "reinforce++": lambda r, s, reduce: _whitened(
        (by.reinforce_plus_plus(r, s.gamma), r.values), r, reduce
    ),
}


@dataclass(frozen=True)
class Answered:
    """What came back from a round: prompts with their answers, and what those are worth."""

    groups: list[Group]
    places: list[int]
    """Each group's place among the round's prompts, over all processes."""
    scores: Tensor
    """Of all answers, group by group: `[E]`."""
    drawn: list[Tensor] | None = None
    """log p of each answer's tokens by a sampler that is not quite the policy."""


@dataclass(frozen=True)
class Experience:
    """Answers as the update reads them: `[E, T]` each, `mask` true at the answers' tokens."""

    groups: list[Group]
    places: list[int]
    mask: Tensor
    old: Tensor
    """log p by the policy that answered."""
    reference: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    corrections: Tensor | None = None
    """What each token's loss is multiplied by where the sampler is not quite the policy."""

    def rows(self, group: int) -> range:
        """The places of a group's answers among all."""
        ends = [0, *accumulate(len(g.completions) for g in self.groups)]
        return range(ends[group], ends[group + 1])


@torch.no_grad()
def experience(
    backbone: Backbone,
    settings: PpoSettings,
    answered: Answered,
    coefficient: float,
    reduce: Reduce,
    tally: Tally,
) -> Experience:
    """Policy, value and reference on all answers; then rewards a token, and advantages."""
    groups = answered.groups
    with backbone.engine.on():
        policy = _passed(backbone, settings, groups, own=True)
    with backbone.reference(), backbone.engine.on():
        reference = _passed(backbone, settings, groups, own=False)
    lengths = [len(c) for g in groups for c in g.completions]
    mask = _padded(policy.logprobs.new_ones(sum(lengths)), lengths) > 0
    old, before = _padded(policy.logprobs, lengths), _padded(reference.logprobs, lengths)
    values = _padded(policy.values, lengths)
    kl = kl_estimates(old, before, settings.kl_estimator)
    penalty = coefficient * kl if settings.kl_place == "reward" else torch.zeros_like(kl)
    prompt = torch.tensor([i for i, g in enumerate(groups) for _ in g.completions])
    rewards = by.token_rewards(answered.scores.to(old.device), penalty, mask)
    rollout = Rollout(rewards, values, mask, prompt.to(old.device))
    advantages, returns = _ESTIMATORS[settings.stage](rollout, settings, reduce)
    tally.add("kl", (old - before).sum(-1))
    tally.add("entropy", policy.entropies)
    if backbone.value is not None:
        _tell_values(tally, returns[mask], values[mask])
    corrections = None
    if answered.drawn is not None:
        drawn = pad_sequence(answered.drawn, batch_first=True).to(old.device)
        corrections = (old - drawn).exp().clamp(max=_MOST_CORRECTION)
    return Experience(
        groups, answered.places, mask, old, before, values, advantages, returns, corrections
    )


@dataclass(frozen=True)
class _Passed:
    logprobs: Tensor
    entropies: Tensor
    values: Tensor


def _passed(
    backbone: Backbone, settings: PpoSettings, groups: Sequence[Group], own: bool
) -> _Passed:
    """All answers' tokens, one after the other; entropies and values of the policy alone."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for part in micro_batches([g.tokens for g in groups], settings.tokens_at_once):
        scores = backbone.engine.score(
            [groups[i] for i in part],
            temperature=settings.sampling.temperature,
            entropy="told" if own else None,
            states=own,
        )
        zeros = torch.zeros_like(scores.logprobs)
        valued = own and backbone.value is not None
        values = backbone.value(scores.states) if valued and backbone.value else zeros
        entropies = zeros if scores.entropies is None else scores.entropies
        parts.append((scores.logprobs, entropies, values))
    return _Passed(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _padded(flat: Tensor, lengths: Sequence[int]) -> Tensor:
    """`[N]` to `[E, T]`, zero behind an answer's end."""
    return pad_sequence(list(torch.split(flat, list(lengths))), batch_first=True)


def _whitened(estimate: Estimate, rollout: Rollout, reduce: Reduce) -> Estimate:
    advantages, returns = estimate
    return by.whiten(advantages, rollout.mask, reduce), returns


def _tell_values(tally: Tally, returns: Tensor, values: Tensor) -> None:
    """What the explained variance is made of, see `explained_variance`."""
    tally.add("value/return", returns)
    tally.add("value/return_squared", returns**2)
    tally.add("value/error", returns - values)
    tally.add("value/error_squared", (returns - values) ** 2)


def explained_variance(means: dict[str, float]) -> float:
    """1 - Var(return - value) / Var(return), from the tally's means, which it takes out."""
    names = ("return", "return_squared", "error", "error_squared")
    mean, square, error, error_square = (means.pop(f"value/{name}") for name in names)
    variance = square - mean**2
    return 1 - (error_square - error**2) / variance if variance > 1e-12 else 0.0
