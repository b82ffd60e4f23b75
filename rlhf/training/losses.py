"""What each stage minimises: pure functions from log-probabilities to one loss a row.

Rows carry weights (a vote's confidence), so a batch's loss is `weighted_mean`, not a plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # torch's own name for it
from torch import Tensor


def weighted_mean(losses: Tensor, weights: Tensor, total: float | None = None) -> Tensor:
    """Σ w·l / Σ w; `total` is Σ w of the whole step where `losses` is a part of it."""
    summed = (losses * weights).sum()
    return summed / (float(weights.sum()) if total is None else total)


# Pairs


@dataclass(frozen=True)
class Pairs:
    """n pairs of answers: log-probabilities summed over each answer's tokens, all `[n]`."""

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def gains(self) -> tuple[Tensor, Tensor]:
        """log π/π_ref of the chosen and of the rejected answers."""
        return self.chosen - self.reference_chosen, self.rejected - self.reference_rejected

    @property
    def margins(self) -> Tensor:
        """How much more the chosen answer gained than the rejected one, in nats."""
        chosen, rejected = self.gains
        return chosen - rejected


def _sigmoid(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """DPO, Rafailov et al. 2023, equation 7."""
    return -F.logsigmoid(beta * pairs.margins)


def _cdpo(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """Conservative DPO, Mitchell 2023: a label is wrong with probability `smoothing`."""
    logits = beta * pairs.margins
    return -(1 - smoothing) * F.logsigmoid(logits) - smoothing * F.logsigmoid(-logits)


def _robust(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """Provably robust DPO, Chowdhury et al. 2024: unbiased where labels flip so often."""
    logits = beta * pairs.margins
    clean = (1 - smoothing) * F.logsigmoid(logits) - smoothing * F.logsigmoid(-logits)
    return -clean / (1 - 2 * smoothing)


def _hinge(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """SLiC's hinge on DPO's margin, Zhao et al. 2023."""
    return torch.relu(1 - beta * pairs.margins)


def _per_token(pairs: Pairs) -> Tensor:
    chosen, rejected = pairs.gains
    return chosen / pairs.chosen_tokens.clamp(min=1) - rejected / pairs.rejected_tokens.clamp(min=1)


def _ipo(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """IPO, Azar et al. 2023, equation 17, on means over tokens as its authors confirmed to TRL."""
    return (_per_token(pairs) - 1 / (2 * beta)) ** 2


def _sigmoid_norm(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """DPO on means over tokens, so that long answers have no louder voice."""
    return -F.logsigmoid(beta * _per_token(pairs))


def _exo_pair(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """EXO for two answers, Ji et al. 2024, equation 16; `smoothing` must be above zero."""
    logits = beta * pairs.margins
    target = torch.tensor([1 - smoothing, smoothing], device=logits.device).log()
    won, lost = F.logsigmoid(logits), F.logsigmoid(-logits)
    return won.exp() * (won - target[0]) + lost.exp() * (lost - target[1])


def _nca_pair(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """NCA for two answers, Chen et al. 2024."""
    chosen, rejected = (beta * gain for gain in pairs.gains)
    return -F.logsigmoid(chosen) - 0.5 * (F.logsigmoid(-chosen) + F.logsigmoid(-rejected))


def _sppo_hard(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """SPPO with hard labels, Wu et al. 2024, equation 4.7 with P = 1 for the chosen answer."""
    chosen, rejected = pairs.gains
    return (chosen - 0.5 / beta) ** 2 + (rejected + 0.5 / beta) ** 2


def _apo_zero(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """APO-zero, D'Oosterlinck et al. 2024, equation 7: for answers better than the policy's own."""
    chosen, rejected = (beta * gain for gain in pairs.gains)
    return torch.sigmoid(-chosen) + torch.sigmoid(rejected)


def _apo_down(pairs: Pairs, beta: float, smoothing: float) -> Tensor:
    """APO-down, D'Oosterlinck et al. 2024, equation 8: for answers worse than the policy's own."""
    return torch.sigmoid(beta * pairs.gains[0]) + torch.sigmoid(-beta * pairs.margins)


PAIR_LOSSES: dict[str, Callable[[Pairs, float, float], Tensor]] = {
    "sigmoid": _sigmoid,
    "cdpo": _cdpo,
    "robust": _robust,
    "hinge": _hinge,
    "ipo": _ipo,
    "sigmoid_norm": _sigmoid_norm,
    "exo_pair": _exo_pair,
    "nca_pair": _nca_pair,
    "sppo_hard": _sppo_hard,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
}


def pair_losses(pairs: Pairs, loss_type: str, beta: float, smoothing: float = 0.0) -> Tensor:
    """One loss a pair, `[n]`; `smoothing` matters to cdpo, robust and exo_pair only."""
    return PAIR_LOSSES[loss_type](pairs, beta, smoothing)


# Single votes


def kl_baseline(mismatched_gains: Tensor) -> Tensor:
    """KTO's reference point, Ethayarajh et al. 2024, section 4.1: a scalar, no gradient, ≥ 0.

    `mismatched_gains` are log π/π_ref of answers to other rows' prompts, `[n]`.
    """
    return mismatched_gains.detach().mean().clamp(min=0)


def vote_losses(gains: Tensor, liked: Tensor, kl: Tensor, loss_type: str, beta: float) -> Tensor:
    """One loss a vote, `[n]`, from each answer's log π/π_ref and whether it was liked.

    `kto`: Ethayarajh et al. 2024, equation 8. `apo_zero_unpaired`: the same without the reference
    point (D'Oosterlinck et al. 2024). A class that the batch lacks has no rows and does no harm.
    """
    baseline = kl if loss_type == "kto" else torch.zeros_like(kl)
    signs = torch.where(liked, 1.0, -1.0)
    return 1 - torch.sigmoid(beta * signs * (gains - baseline))


# Scores


def score_losses(
    chosen: Tensor, rejected: Tensor, margins: Tensor | None = None, centre: float = 0.0
) -> Tensor:
    """Bradley and Terry's loss for scalar scores, `[n]`.

    `margins`: by how much at least the chosen one should lead (Touvron et al. 2023, equation 2).
    `centre` pulls scores of a pair towards a sum of zero (Eisenstein et al. 2023): only differences
    are learned, so without it two trainings' scores have different zeros.
    """
    lead = chosen - rejected
    losses = -F.logsigmoid(lead if margins is None else lead - margins)
    return losses + centre * (chosen + rejected) ** 2


# Policy gradients


def policy_losses(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's clipped objective a token, `[N]`, to be minimised (Schulman et al. 2017, eq. 7)."""
    ratios = (logprobs - old).exp()
    return -torch.min(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages)


def value_losses(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error a token, `[N]` (Huang et al. 2022, PPO's detail 9).

    The worse of the value's, and of one that moved at most `clip` from what it was.
    """
    near = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.max((values - returns) ** 2, (near - returns) ** 2)


def kl_estimates(logprobs: Tensor, reference: Tensor, kind: str) -> Tensor:
    """KL(policy ‖ reference) from one draw a token, `[N]` (Schulman 2020).

    `k1` is unbiased and may be negative; `k3` is unbiased too, never negative and of less variance.
    As a term of a loss, k1 has no gradient on average, and k3 that of KL(reference ‖ policy): the
    other direction, and the same near the reference (Tang and Munos 2025).
    """
    apart = logprobs - reference
    return apart if kind == "k1" else (-apart).exp() - 1 + apart
