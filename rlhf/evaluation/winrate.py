"""How often the candidate's answer wins, how sure that is, and how many prompts it takes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from rlhf.evaluation.estimate import cluster_means, normal_quantile, wilson


@dataclass(frozen=True)
class WinRate:
    """The candidate's share of wins, a tie counting half, with its interval.

    `n` counts prompts or conversations (the independent units); `wins`, `ties` and `losses` count
    single verdicts.
    """

    rate: float
    low: float
    high: float
    n: int
    wins: int
    ties: int
    losses: int


def win_rate(
    outcomes: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> WinRate | None:
    """The win rate of outcomes 1, ½ or 0, averaged within each group first; None for no outcome.

    Wilson's interval takes the variance of one unit to be p(1-p). A unit that may also be ½, or a
    mean over its group, lies in [0, 1] and so has a variance of at most p(1-p) (x² ≤ x there): the
    interval covers at least what it says, and is too wide, never too narrow, when ties are many.
    """
    odd = [o for o in outcomes if o not in (0.0, 0.5, 1.0)]
    if odd:
        raise ValueError(f"an outcome is 1, 0.5 or 0, not {odd[0]!r}")
    if not outcomes:
        return None
    units = cluster_means(outcomes, groups)
    rate, n = float(units.mean()), len(units)
    low, high = wilson(rate, n, confidence)
    wins, ties = outcomes.count(1.0), outcomes.count(0.5)
    return WinRate(rate, low, high, n, wins, ties, len(outcomes) - wins - ties)


def prompts_to_win(
    effect: float, power: float = 0.8, alpha: float = 0.025, at_least: float = 0.5
) -> int:
    """Prompts for Wilson's lower end to pass `at_least` with `power` at a win rate of ½ + effect.

    `alpha` is one-sided. The lower end passes p₀ exactly when the score test rejects p = p₀, whose
    spread is √(p₀(1-p₀)) under the null and √(p(1-p)) at the rate hoped for.
    """
    hoped = 0.5 + effect
    if not at_least < hoped < 1.0:
        raise ValueError(f"a win rate of {hoped:g} must lie between {at_least:g} and 1")
    spread = normal_quantile(1.0 - alpha) * math.sqrt(at_least * (1.0 - at_least))
    spread += normal_quantile(power) * math.sqrt(hoped * (1.0 - hoped))
    return math.ceil((spread / (hoped - at_least)) ** 2)


def prompts_to_keep(margin: float, sd: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Prompts to show that a paired mean is no worse by `margin`, when it is in truth unchanged.

    `sd` is that of one paired difference and `alpha` is one-sided. The term z²/2 corrects for
    Student's t in place of the normal (Guenther 1981).
    """
    if margin <= 0.0:
        raise ValueError(f"a margin is above 0, not {margin}")
    z = normal_quantile(1.0 - alpha)
    n = ((z + normal_quantile(power)) * sd / margin) ** 2 + z * z / 2.0
    return max(2, math.ceil(n))


def power_for_each(power: float, guardrails: int) -> float:
    """The power each single condition needs for all of them to pass together with `power`.

    A release needs the win and every guardrail. Each can miss by chance, so the risk of refusing a
    good candidate is split: beta / (guardrails + 1) each, which holds however they correlate.
    Alpha is not split: a bad candidate must slip through every test that guards against it, so the
    whole errs no more often than one test (intersection-union; Berger 1982). Both from
    Schultzberg, Ankargren & Frånberg 2024, "Risk-aware product decisions in A/B tests with
    multiple metrics", arXiv 2402.11609.
    """
    return 1.0 - (1.0 - power) / (guardrails + 1)
