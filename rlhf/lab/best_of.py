"""What the best of n answers would be like, from n answers that are there.

Best-of-n draws n answers to a prompt and gives the one with the highest reward. Where n were drawn,
the best of any k <= n is estimated without bias as the mean over all subsets of k: an answer with
rank i of m (from below) is the best in C(i-1, k-1) of C(m, k) of them (Chen et al. 2021 count
pass@k so; Nakano et al. 2021 the reward).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import comb, log

import numpy as np
import numpy.typing as npt

from rlhf.evaluation.estimate import Estimate, cluster_means, mean_estimate

Floats = npt.NDArray[np.float64]


def kl_bound(k: int) -> float:
    """log k - (k-1)/k in nats: KL(best-of-k ‖ policy) is at most this (Beirami et al. 2024)."""
    return log(k) - (k - 1) / k


def sizes(n: int) -> list[int]:
    """1, 2, 4, ... and `n` itself."""
    return sorted({*(2**i for i in range(n.bit_length()) if 2**i <= n), n})


def chances(rewards: Floats, k: int) -> Floats:
    """How likely each answer is the best of k of its prompt's: `[P, n]`, a row sums to 1.

    An answer without a reward (NaN) is never drawn; a prompt with fewer than k others has zeros.
    Answers of equal reward share their chance.
    """
    found = np.zeros_like(rewards)
    for row, out in zip(rewards, found, strict=True):
        known = np.flatnonzero(~np.isnan(row))
        subsets = comb(len(known), k)
        values, place, counts = np.unique(row[known], return_inverse=True, return_counts=True)
        below = np.concatenate([[0], np.cumsum(counts)])
        if subsets:
            wins = [comb(int(b), k) for b in below]  # subsets wholly within the lowest b
            shares = [(wins[i + 1] - wins[i]) / subsets / counts[i] for i in range(len(values))]
            out[known] = np.asarray(shares)[place]
    return found


def expected(weights: Floats, values: Floats) -> Floats:
    """The weighted mean of each prompt's values, `[P]`; NaN where no answer with weight has one."""
    known = ~np.isnan(values)
    weight = np.where(known, weights, 0.0).sum(1)
    total = (np.where(known, values, 0.0) * weights).sum(1)
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)


def change(
    rewards: Floats, values: Floats, k: int, groups: Sequence[Hashable] | None = None
) -> Estimate | None:
    """How much higher a measure is for the best of k by `rewards` than for any answer.

    The interval is over prompts; None where no prompt can tell.
    """
    best, any_one = (expected(chances(rewards, size), values) for size in (k, 1))
    gains = best - any_one
    kept = ~np.isnan(gains)
    labels = None if groups is None else [g for g, keep in zip(groups, kept, strict=True) if keep]
    return mean_estimate(cluster_means(gains[kept].tolist(), labels).tolist())
