"""Confidence sequences: intervals that stay right however often one looks, and whenever one stops.

A fixed-size interval errs with its alpha once; looked at after every vote it errs almost surely.
These hold at all times together: P(the truth lies outside at any moment) ≤ alpha.

A mixture of likelihood ratios against one rate p is a martingale that starts at 1 when p is the
truth (Robbins 1970, "Statistical methods related to the law of the iterated logarithm"), so by
Ville's inequality it ever reaches 1/alpha with probability alpha at most. The rates that it has
not yet ruled out are the interval (Howard, Ramdas, McAuliffe & Sekhon 2021, arXiv 1810.08240;
Waudby-Smith & Ramdas 2024, arXiv 2010.09686, compare it with betting). Mixed over
Beta(1/2, 1/2), it needs nothing but the two counts, so a database can group and this bounds it.

What is assumed: each vote is up with the same probability whatever came before. Votes of one
person resemble each other, so a share that few people made is less sure than it looks.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

_HALVINGS = 60


class Interval(NamedTuple):
    """Both ends, within [0, 1] for a rate and [-1, 1] for a difference."""

    low: float
    high: float


def rate_interval(ups: int, total: int, alpha: float = 0.05) -> Interval:
    """The rates that `ups` of `total` have not ruled out, at every total at once."""
    _check(ups, total, alpha)
    least = _mixture(ups, total) + math.log(alpha)
    return _ends(lambda p: _likelihood(p, ups, total), least, _share(ups, total))


def difference_interval(
    first: tuple[int, int], second: tuple[int, int], alpha: float = 0.05
) -> Interval:
    """First rate minus second, each given as (ups, total), at all pairs of totals at once.

    Half of alpha pays for each of two ways, and what both leave is the interval. The product of
    the martingales rules out pairs of rates at once, which tells like numbers of votes apart best;
    two intervals laid against each other do where one side, a canary, has few. How many votes
    either side gets may depend on all that came before.
    """
    for side in (first, second):
        _check(*side, alpha)
    least = _mixture(*first) + _mixture(*second) + math.log(alpha / 2.0)
    ours, theirs = (rate_interval(*side, alpha=alpha / 4.0) for side in (first, second))
    return Interval(
        max(-_furthest(second, first, least), ours.low - theirs.high),
        min(_furthest(first, second, least), ours.high - theirs.low),
    )


def log_evidence(rate: float, ups: int, total: int) -> float:
    """Log of the martingale against a rate: at ln(1/alpha) the rate is ruled out."""
    return _mixture(ups, total) - _likelihood(rate, ups, total)


def _check(ups: int, total: int, alpha: float) -> None:
    if not 0 <= ups <= total:
        raise ValueError(f"{ups} ups of {total} votes is no share")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha lies between 0 and 1, not {alpha}")


def _share(ups: int, total: int) -> float:
    return ups / total if total else 0.5


def _mixture(ups: int, total: int) -> float:
    """Log of the likelihood averaged over Beta(1/2, 1/2), whose B(1/2, 1/2) is pi."""
    a, b = ups + 0.5, total - ups + 0.5
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(total + 1.0) - math.log(math.pi)


def _likelihood(rate: float, ups: int, total: int) -> float:
    """Log-likelihood of a rate; a rate of 0 or 1 makes what did happen impossible."""
    value = 0.0
    for count, chance in ((ups, rate), (total - ups, 1.0 - rate)):
        if count:
            value += count * math.log(chance) if chance > 0.0 else -math.inf
    return value


def _furthest(above: tuple[int, int], below: tuple[int, int], least: float) -> float:
    """The largest p - q whose joint log-likelihood is `least` or more.

    There one side's slope is -m and the other's m (Lagrange), and the likelihood falls as m grows.
    """
    low, high = math.log(1e-12), math.log(1e15)
    p = q = 0.0
    for _ in range(_HALVINGS):
        steep = math.exp((low + high) / 2.0)
        p = _falling(steep, *above)
        q = 1.0 - _falling(steep, below[1] - below[0], below[1])
        if _likelihood(p, *above) + _likelihood(q, *below) >= least:
            low = math.log(steep)
        else:
            high = math.log(steep)
    return p - q


def _falling(steep: float, ups: int, total: int) -> float:
    """The rate at which the log-likelihood's slope, ups/p - downs/(1-p), is -`steep`."""
    gap = total - steep
    root = math.sqrt(gap * gap + 4.0 * steep * ups)
    # Of the two forms of a quadratic's root, the one that does not subtract like numbers.
    return 2.0 * ups / (gap + root) if gap > 0.0 else min(1.0, (root - gap) / (2.0 * steep))


def _ends(height: Callable[[float], float], least: float, peak: float) -> Interval:
    """Where a concave function on [0, 1] falls below `least`, on both sides of its peak."""
    found = []
    for outside in (0.0, 1.0):
        inside = outside if height(outside) >= least else peak
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2.0
            if height(middle) >= least:
                inside = middle
            else:
                outside = middle
        found.append(inside)
    return Interval(found[0], found[1])
