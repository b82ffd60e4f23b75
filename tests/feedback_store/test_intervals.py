"""Confidence sequences: right at all times together, and narrow enough to be of use."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from feedback_store.intervals import (
    _bets,
    difference_interval,
    log_evidence,
    log_evidence_above,
    rate_interval,
)

Ends = Callable[[int, int], tuple[float, float]]


def ever_missed(ends: Ends, rate: float, steps: int) -> float:
    """Chance that a path of so many votes ever leaves the interval, by adding up all paths."""
    inside, missed = np.array([1.0]), 0.0
    for total in range(1, steps + 1):
        inside = np.append(inside * (1 - rate), 0.0) + np.append(0.0, inside * rate)
        for ups in np.flatnonzero(inside):
            low, high = ends(int(ups), total)
            if not low <= rate <= high:
                missed += inside[ups]
                inside[ups] = 0.0
    return float(missed)


def wilson(ups: int, total: int) -> tuple[float, float]:
    z, rate = 1.96, ups / total
    centre = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(rate * (1 - rate) / total + (z / total) ** 2 / 4)
    return centre - half, centre + half


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.83])
def test_no_path_leaves_the_interval_more_often_than_alpha(rate: float) -> None:
    missed = ever_missed(lambda u, n: rate_interval(u, n, alpha=0.1), rate, 120)
    assert 0.0 < missed <= 0.1
    # What looking at a fixed-size interval after each vote does; else the test shows nothing.
    assert ever_missed(wilson, 0.5, 120) > 0.2


def evidence(draws: np.ndarray, rate: float) -> np.ndarray:
    """`log_evidence` after each vote of each path, by NumPy: (paths, steps) in and out."""
    steps = draws.shape[1]
    gamma = np.array([math.lgamma(n + 0.5) for n in range(steps + 1)])
    whole = np.array([math.lgamma(n + 1.0) for n in range(steps + 1)])
    total = np.arange(1, steps + 1)
    ups = draws.cumsum(axis=1)
    mixture = gamma[ups] + gamma[total - ups] - whole[total] - math.log(math.pi)
    return mixture - ups * math.log(rate) - (total - ups) * math.log(1 - rate)


def test_long_paths_stay_inside_too() -> None:
    random = np.random.default_rng(7)
    for rate in (0.1, 0.5, 0.7):
        paths = evidence(random.random((1_000, 4_000)) < rate, rate)
        assert 0.0 < np.mean((paths >= math.log(1 / 0.05)).any(axis=1)) <= 0.05
    draws = random.random((1, 50)) < 0.3
    told = [log_evidence(0.3, int(draws[0, :n].sum()), n) for n in range(1, 51)]
    assert np.allclose(evidence(draws, 0.3)[0], told)


def test_the_ends_are_where_the_evidence_reaches_its_bound() -> None:
    for ups, total in ((3, 10), (500, 1_000), (999, 1_000), (123_456, 300_000)):
        low, high = rate_interval(ups, total)
        assert low < ups / total < high
        for end in (low, high):
            assert log_evidence(end, ups, total) == pytest.approx(math.log(20), abs=1e-4)
    assert rate_interval(0, 0) == (0.0, 1.0)
    assert rate_interval(0, 40)[0] == 0.0 and rate_interval(40, 40)[1] == 1.0


def test_it_is_narrower_than_a_union_bound_over_time() -> None:
    """The naive way: Hoeffding's interval after n votes at alpha/(n(n+1)), which sums to alpha."""
    for total in (10, 100, 1_000, 100_000):
        for share in (0.05, 0.5, 0.9):
            low, high = rate_interval(round(share * total), total)
            naive = 2 * math.sqrt(math.log(2 * total * (total + 1) / 0.05) / (2 * total))
            assert high - low < min(1.0, 0.8 * naive)
    low, high = rate_interval(5_000, 10_000)
    assert high - low < 2.2 * 2 * 1.96 * 0.005  # what being right at all times costs here


def test_a_difference_covers_at_all_times_under_a_lopsided_canary() -> None:
    """One vote in five goes to the canary, more while it leads: the split may look at the past."""
    random = np.random.default_rng(3)
    champion, canary, missed, looks = 0.6, 0.5, 0, 0
    for _ in range(120):
        first, second = [0, 0], [0, 0]
        for vote in range(1, 151):
            leads = first[0] * second[1] > second[0] * first[1]
            side, rate = (
                (first, canary) if random.random() < 0.2 + 0.3 * leads else (second, champion)
            )
            side[0] += int(random.random() < rate)
            side[1] += 1
            if vote % 5 == 0:
                looks += 1
                low, high = difference_interval((first[0], first[1]), (second[0], second[1]), 0.1)
                if not low <= canary - champion <= high:
                    missed += 1
                    break
    assert looks > 3_000 and missed <= 12


def test_a_difference_is_narrower_than_two_intervals_and_turns_with_its_sides() -> None:
    for first, second, bound in (
        ((30, 50), (20, 50), 0.85),
        ((900, 1_000), (450, 500), 0.9),
        ((1, 10), (700, 1_000), 1.07),  # a canary: no worse than them, but for what it pays
    ):
        low, high = difference_interval(first, second)
        assert low < first[0] / first[1] - second[0] / second[1] < high
        apart = [rate_interval(*side, alpha=0.025) for side in (first, second)]
        assert high - low < bound * sum(side.high - side.low for side in apart)
        assert difference_interval(second, first) == pytest.approx((-high, -low), abs=1e-9)
    assert difference_interval((0, 0), (0, 0)) == pytest.approx((-1.0, 1.0))
    assert difference_interval((5, 5), (0, 5))[1] == pytest.approx(1.0)


def test_a_difference_matches_a_search_over_all_pairs() -> None:
    first, second = (18, 30), (9, 40)
    rates = np.linspace(0.0005, 0.9995, 1_000)
    against = [np.array([log_evidence(p, *side) for p in rates]) for side in (first, second)]
    kept = (against[0][:, None] + against[1][None, :]) < math.log(40)
    apart = (rates[:, None] - rates[None, :])[kept]
    assert difference_interval(first, second) == pytest.approx((apart.min(), apart.max()), abs=2e-3)


@pytest.mark.parametrize("ups, total, alpha", [(3, 2, 0.05), (-1, 2, 0.05), (1, 2, 0.0)])
def test_what_is_no_share_is_refused(ups: int, total: int, alpha: float) -> None:
    with pytest.raises(ValueError):
        rate_interval(ups, total, alpha)


def brute_force(
    first: np.ndarray, second: np.ndarray, margin: float, share: float, rates: int = 401
) -> np.ndarray:
    """`log_evidence_above` as defined, on a grid of m; sides are (..., 2): ups and totals."""
    m = np.linspace(0.0, 1.0, rates)
    total = np.full((*first.shape[:-1], rates), -np.inf)
    for weight, up, down in _bets(share):
        ours = first[..., :1] * up - first[..., 1:] * np.log1p(
            np.minimum(1.0, m + margin) * np.expm1(up)
        )
        theirs = -second[..., :1] * down - second[..., 1:] * np.log1p(m * np.expm1(-down))
        total = np.logaddexp(total, weight + ours + theirs)
    return total.min(axis=-1)


@pytest.mark.parametrize("margin, share", [(0.0, 0.5), (0.0, 0.1), (0.05, 0.2)])
def test_evidence_above_matches_a_search_over_all_rates(margin: float, share: float) -> None:
    sides = [((18, 30), (9, 40)), ((9, 40), (18, 30)), ((5, 5), (0, 5)), ((0, 0), (3, 9))]
    sides += [((40, 1_000), (10, 2_000)), ((150, 300), (360, 1_200))]
    for first, second in sides:
        grid = brute_force(np.array(first), np.array(second), margin, share, 100_001)
        told = log_evidence_above(first, second, margin=margin, share=share)
        assert told == pytest.approx(float(grid), abs=1e-5)


def test_evidence_above_grows_with_ups_of_the_first_and_downs_of_the_second() -> None:
    assert log_evidence_above((0, 0), (0, 0)) == pytest.approx(0.0)
    by_first = [log_evidence_above((ups, 40), (12, 60)) for ups in range(41)]
    by_second = [log_evidence_above((24, 40), (ups, 60)) for ups in range(61)]
    by_margin = [log_evidence_above((24, 40), (12, 60), margin=m / 20) for m in range(10)]
    assert by_first == sorted(by_first) and by_first[0] < 0 < math.log(20) < by_first[-1]
    assert by_second == sorted(by_second, reverse=True)
    assert by_margin == sorted(by_margin, reverse=True)


@pytest.mark.parametrize("rate, margin", [(0.5, 0.0), (0.1, 0.0), (0.02, 0.05)])
def test_evidence_above_errs_seldom_where_nothing_is_above(rate: float, margin: float) -> None:
    """1,000 null paths at the null's edge, under a split that follows what came before."""
    random = np.random.default_rng(11)
    paths, erred = 1_000, np.zeros(1_000, dtype=bool)
    first, second = np.zeros((paths, 2)), np.zeros((paths, 2))
    for vote in range(1, 601):
        leads = first[:, 0] * second[:, 1] > second[:, 0] * first[:, 1]
        ours = random.random(paths) < 0.2 + 0.3 * leads
        up = random.random(paths) < np.where(ours, rate + margin, rate)
        for side, mine in ((first, ours), (second, ~ours)):
            side[:, 0] += mine & up
            side[:, 1] += mine
        if vote % 15 == 0:
            erred |= brute_force(first, second, margin, 0.2, 101) >= math.log(20)
    assert erred.mean() <= 0.05


def test_evidence_above_finds_20_points_where_two_intervals_take_longer() -> None:
    first, second = (40, 80), (96, 320)  # 50 % and 30 %
    assert log_evidence_above(first, second, share=0.2) > math.log(20)
    assert difference_interval(first, second).low < 0.0


@pytest.mark.parametrize(
    "first, margin, share", [((3, 2), 0.0, 0.5), ((1, 2), 1.0, 0.5), ((1, 2), 0.0, 0.0)]
)
def test_what_is_no_comparison_is_refused(
    first: tuple[int, int], margin: float, share: float
) -> None:
    with pytest.raises(ValueError):
        log_evidence_above(first, (1, 2), margin=margin, share=share)
