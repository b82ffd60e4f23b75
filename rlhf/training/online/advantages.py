"""How much better than expected an answer was, token by token: one small function an estimator.

Answers stand in rows of `[E, T]`; `mask` is true at their tokens. A token's reward holds its KL
penalty, and the last token's the answer's score as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Reduce = Callable[[Tensor], Tensor]
"""Sums over processes; the identity where there is one."""


@dataclass(frozen=True)
class Rollout:
    """What the estimators look at."""

    rewards: Tensor
    """`[E, T]`, zero where there is no token."""
    values: Tensor
    """`[E, T]`: what was expected before each token."""
    mask: Tensor
    """`[E, T]`, bool."""
    prompt: Tensor
    """`[E]`: the number of the prompt that was answered."""


def token_rewards(scores: Tensor, penalties: Tensor, mask: Tensor) -> Tensor:
    """-penalty at each token, and the answer's score `[E]` at its last one: `[E, T]`."""
    rewards = torch.where(mask, -penalties, 0.0)
    last = mask.sum(-1) - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def gae(rollout: Rollout, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantages (Schulman et al. 2016, equation 16) and returns, both `[E, T]`."""
    values = torch.where(rollout.mask, rollout.values, 0.0)
    advantages = torch.zeros_like(values)
    later = values.new_zeros(len(values))
    following = torch.zeros_like(later)
    for t in reversed(range(values.shape[1])):
        delta = rollout.rewards[:, t] + gamma * following - values[:, t]
        later = torch.where(rollout.mask[:, t], delta + gamma * lam * later, 0.0)
        following = values[:, t]
        advantages[:, t] = later
    return advantages, advantages + values


def rloo(rollout: Rollout) -> Tensor:
    """The answer's reward less the mean of its prompt's other answers (Ahmadian et al. 2024).

    An answer whose fellows were all dropped has nothing to be compared with: 0.
    """
    totals = _totals(rollout)
    count, mean = _by_prompt(totals, rollout.prompt)
    others = (count * mean - totals) / (count - 1).clamp(min=1)
    return _spread(torch.where(count > 1, totals - others, 0.0), rollout)


def grpo(rollout: Rollout) -> Tensor:
    """The answer's reward, centred and scaled within its prompt's answers (Shao et al. 2024)."""
    totals = _totals(rollout)
    count, mean = _by_prompt(totals, rollout.prompt)
    _, variance = _by_prompt((totals - mean) ** 2, rollout.prompt)
    deviation = (variance * count / (count - 1).clamp(min=1)).sqrt()
    return _spread((totals - mean) / (deviation + 1e-4), rollout)


def reinforce_plus_plus(rollout: Rollout, gamma: float) -> Tensor:
    """The rewards to come, token by token (Hu 2025); they are whitened over all answers later."""
    without = replace(rollout, values=torch.zeros_like(rollout.values))
    return gae(without, gamma, lam=1.0)[0]


def moments(values: Tensor, reduce: Reduce) -> tuple[float, float]:
    """Mean and (population) variance over all processes' values."""
    wide = values.double()
    count, total = reduce(torch.stack([wide.new_tensor(float(wide.numel())), wide.sum()])).tolist()
    mean = total / max(count, 1.0)
    (square,) = reduce(((wide - mean) ** 2).sum()[None]).tolist()
    return mean, square / max(count, 1.0)


def whiten(values: Tensor, mask: Tensor, reduce: Reduce) -> Tensor:
    """Mean 0 and variance 1 over the masked entries of all processes; 0 elsewhere."""
    mean, variance = moments(values[mask], reduce)
    return torch.where(mask, (values - mean) / (variance + 1e-8) ** 0.5, 0.0)


def _totals(rollout: Rollout) -> Tensor:
    """Each answer's reward, in numbers so fine that equal ones differ from their mean by nothing.

    In float32 rounding is scaled up: three answers of 1000.1 each get advantages of 0.35.
    """
    return rollout.rewards.double().sum(-1)


def _by_prompt(values: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """How many answers each answer's prompt has, and their mean: `[E]` both."""
    same = (prompt[:, None] == prompt[None]).to(values.dtype)
    count = same.sum(-1)
    return count, same @ values / count


def _spread(per_answer: Tensor, rollout: Rollout) -> Tensor:
    """The same advantage for each of an answer's tokens."""
    return torch.where(rollout.mask, per_answer[:, None].to(rollout.rewards.dtype), 0.0)
