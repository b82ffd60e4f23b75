import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.evaluation.estimate import (
    mean_estimate,
    rate_estimate,
    ratio_estimate,
    student_cdf,
    student_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("p", "df", "t"),
    [  # a printed table of Student's t
        (0.95, 1, 6.3138),
        (0.975, 1, 12.7062),
        (0.9995, 1, 636.619),
        (0.975, 2, 4.3027),
        (0.95, 5, 2.0150),
        (0.99, 10, 2.7638),
        (0.975, 30, 2.0423),
        (0.995, 120, 2.6174),
    ],
)
def test_student_quantiles_are_the_printed_ones(p, df, t):
    assert student_quantile(p, df) == pytest.approx(t, rel=3e-5)
    assert student_quantile(1 - p, df) == -student_quantile(p, df)


@given(st.floats(0.001, 0.999), st.floats(1, 2e6))
def test_quantile_inverts_the_distribution(p, df):
    assert student_cdf(student_quantile(p, df), df) == pytest.approx(p, abs=1e-6)


@given(st.floats(-50, 50))
def test_two_degrees_of_freedom_have_a_closed_form(t):
    assert student_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-10)


def test_many_degrees_of_freedom_are_normal():
    assert student_quantile(0.975, 1e5) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-4)


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0.5, 0.999))
def test_wilson_ends_solve_the_score_equation(k, n, confidence):
    k = min(k, n)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    for end in wilson(k / n, n, confidence):
        if 1e-9 < end < 1 - 1e-9:
            score = abs(k / n - end) / math.sqrt(end * (1 - end) / n)
            assert score == pytest.approx(z, rel=1e-6)


def test_means_and_rates():
    found = mean_estimate([1.0, 2.0, 3.0, 4.0])
    half = 3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-5)
    assert mean_estimate([]) is None
    assert mean_estimate([7.0]).low is None
    perfect = rate_estimate([1.0] * 10)
    assert perfect.mean == perfect.high == 1.0 and perfect.low == pytest.approx(0.7225, abs=1e-4)


def test_a_ratio_with_equal_sizes_is_a_mean():
    rng = np.random.default_rng(3)
    x = rng.normal(size=30)
    mean, ratio = mean_estimate((x / 4).tolist()), ratio_estimate(x.tolist(), [4] * 30)
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((mean.mean, mean.low, mean.high))
    assert ratio_estimate([], []) is None
    assert ratio_estimate([2.0], [4]).mean == 0.5


def test_a_ratio_covers_when_sizes_vary():
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(600):
        sizes = rng.integers(1, 12, size=80) ** 3
        totals = sizes * (0.3 + rng.normal(size=80))
        found = ratio_estimate(totals.tolist(), sizes.tolist())
        covered.append(found.low < 0.3 < found.high)
    assert 0.91 < np.mean(covered) < 0.98
