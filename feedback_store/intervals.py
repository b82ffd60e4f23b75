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
from collections.abc import Callable, Iterator
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


def log_evidence_above(
    first: tuple[int, int], second: tuple[int, int], *, margin: float = 0.0, share: float = 0.5
) -> float:
    """Log of an e-process against "first's rate is second's plus `margin` at most".

    Each side is (ups, total). While that null holds, the chance that this ever reaches ln(1/alpha)
    is alpha at most, whatever the two rates are, however often one looks, and however the votes
    fall to the sides (each may depend on all that came before). `share` is the part of the votes
    that first is expected to have; another part costs power, not validity.

    For every rate m there is a product of two bets: first's votes against "m + margin at most",
    odds raised by a factor, and second's against "m at least", odds lowered. Under the null some m
    lies between the two rates, and that product, mixed over factors, is a supermartingale; the
    least over all m stays below it (the null's least favourable point, as in universal inference:
    Wasserman, Ramdas & Balakrishnan 2020, arXiv 1912.11436). Both bets turn on the same m, so that
    the unknown common rate costs next to nothing where the odds are shared out by the votes each
    side gets, as the growth-rate optimal bet for two streams is (Turner, Ly & Grünwald 2024, arXiv
    2106.02693). Each term is convex in m, so their sum is, and its least is found by a search.
    """
    for ups, total in (first, second):
        _check(ups, total, 0.5)
    if not 0.0 <= margin < 1.0 or not 0.0 < share < 1.0:
        raise ValueError(f"margin {margin} and share {share} lie in [0, 1) and (0, 1)")
    bets = list(_bets(share))

    def evidence(m: float) -> float:
        return _log_sum_exp(
            [
                weight + _bet(up, first, min(1.0, m + margin)) + _bet(-down, second, m)
                for weight, up, down in bets
            ]
        )

    return _least(evidence)


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


# How much first's odds may be above second's, as a log ratio, and how likely that is. 20 points
# between even rates are 0.85, and at 90 % 1.35.
_APART = ((0.2, 1.0), (0.6, 3.0), (1.0, 4.0), (1.5, 3.0), (3.0, 1.0))
# Other parts of the votes that first may have; together a third of the weight.
_PARTS = (0.1, 0.3, 0.5, 0.7, 0.9)


def _bets(share: float) -> Iterator[tuple[float, float, float]]:
    """Log weight, and by how much first's and second's log odds are moved."""
    parts = [(share, 2.0 / 3.0), *((part, 1.0 / 3.0 / len(_PARTS)) for part in _PARTS)]
    for apart, likely in _APART:
        for part, weight in parts:
            yield (
                math.log(weight * likely / sum(w for _, w in _APART)),
                (1.0 - part) * apart,
                part * apart,
            )


def _bet(moved: float, side: tuple[int, int], rate: float) -> float:
    """Log of the likelihood ratio of a rate whose log odds are moved, to the rate itself."""
    ups, total = side
    return moved * ups - total * math.log1p(rate * math.expm1(moved))


def _log_sum_exp(values: list[float]) -> float:
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))


_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def _least(height: Callable[[float], float]) -> float:
    """The least value of a convex function on [0, 1], by golden section."""
    low, high = 0.0, 1.0
    left, right = high - _GOLDEN, low + _GOLDEN
    at_left, at_right = height(left), height(right)
    least = min(height(low), height(high), at_left, at_right)
    for _ in range(_HALVINGS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = height(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = height(right)
        least = min(least, at_left, at_right)
    return least


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
