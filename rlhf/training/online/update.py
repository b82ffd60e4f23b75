"""Steps on clipped losses over a round's answers, a few passes long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.distributed
from torch import Tensor

from rlhf.errors import StepFailed
from rlhf.packed import Entropy, micro_batches
from rlhf.training.losses import kl_estimates, policy_losses, value_losses
from rlhf.training.online.advantages import Reduce
from rlhf.training.online.backbone import Backbone
from rlhf.training.online.experience import Experience
from rlhf.training.online.rollouts import seed_of
from rlhf.training.online.settings import PpoSettings
from rlhf.training.online.tally import Tally


def learn(
    backbone: Backbone,
    optimizer: torch.optim.Optimizer,
    settings: PpoSettings,
    batch: Experience,
    update: int,
    coefficient: float,
    reduce: Reduce,
    tally: Tally,
) -> None:
    """Move policy and value; a round ends early when the policy went too far from who answered.

    A loss is the mean over the tokens of a minibatch, wherever its prompts are: so neither the
    number of processes nor `tokens_at_once` changes what is learned, beyond rounding.
    """
    # A process may have no prompt in any step before a round ends early.
    for name in ("policy_loss", "clip_fraction", *(["value_loss"] if backbone.value else [])):
        tally.add(name, [])
    with backbone.engine.on():
        for groups in _minibatches(settings, batch, update):
            rows = [row for g in groups for row in batch.rows(g)]
            count = reduce(batch.mask[rows].sum().double()[None])
            if not float(count):
                continue  # no answer to its prompts has a reward
            optimizer.zero_grad()
            apart = torch.zeros_like(count)
            sizes = [batch.groups[g].tokens for g in groups]
            for part in micro_batches(sizes, settings.tokens_at_once):
                losses, k3 = token_losses(
                    backbone, settings, batch, [groups[i] for i in part], coefficient, tally
                )
                (losses.sum() / float(count)).backward()
                apart += k3.sum()
            approx_kl = float(reduce(apart) / count)
            tally.add("approx_kl", [approx_kl])
            if settings.target_kl is not None and approx_kl > settings.target_kl:
                return
            _step(backbone, optimizer, settings)


def token_losses(
    backbone: Backbone,
    settings: PpoSettings,
    batch: Experience,
    groups: Sequence[int],
    coefficient: float,
    tally: Tally,
) -> tuple[Tensor, Tensor]:
    """Loss of each token of some groups' answers, and its k3 distance from who answered: `[N]`."""
    rows = [row for g in groups for row in batch.rows(g)]
    mask = batch.mask[rows]

    def flat(values: Tensor) -> Tensor:
        return values[rows][mask]

    entropy: Entropy | None = "learned" if settings.entropy else None
    scores = backbone.engine.score(
        [batch.groups[g] for g in groups],
        temperature=settings.sampling.temperature,
        entropy=entropy,
        states=backbone.value is not None,
    )
    old = flat(batch.old)
    losses = policy_losses(scores.logprobs, old, flat(batch.advantages), settings.clip)
    tally.add("policy_loss", losses)
    if batch.corrections is not None:
        losses = losses * flat(batch.corrections)
    if settings.kl_place == "loss":
        kl = kl_estimates(scores.logprobs, flat(batch.reference), settings.kl_estimator)
        losses = losses + coefficient * kl
    if scores.entropies is not None:
        losses = losses - settings.entropy * scores.entropies
    if backbone.value is not None and scores.states is not None:
        values = backbone.value(scores.states)
        errors = value_losses(values, flat(batch.values), flat(batch.returns), settings.value_clip)
        tally.add("value_loss", errors)
        losses = losses + errors
    ratios = (scores.logprobs.detach() - old).exp()
    tally.add("clip_fraction", ((ratios - 1).abs() > settings.clip).float())
    return losses, kl_estimates(old, scores.logprobs.detach(), "k3").double()


def _minibatches(settings: PpoSettings, batch: Experience, update: int) -> Iterator[list[int]]:
    """The groups of each step that are this process's: some, all or none of the step's."""
    here = {place: group for group, place in enumerate(batch.places)}
    for epoch in range(settings.epochs):
        seed = seed_of(settings.seed, "minibatches", update, epoch)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(settings.prompts, generator=generator)
        for part in torch.tensor_split(order, settings.minibatches):
            yield [here[place] for place in part.tolist() if place in here]


def _step(backbone: Backbone, optimizer: torch.optim.Optimizer, settings: PpoSettings) -> None:
    """Policy and value are clipped apart: a large error of one must not shorten the other's."""
    for group in optimizer.param_groups:
        _add_up(group["params"])
        norm = torch.nn.utils.clip_grad_norm_(group["params"], settings.max_grad_norm)
        if not math.isfinite(norm):
            raise StepFailed("the gradient is not finite; lower learning_rate or look at rewards")
    optimizer.step()


def _add_up(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Each process has its groups' part of the minibatch's mean, so the parts are summed."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(parameter.grad)
