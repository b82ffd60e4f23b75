import itertools

import numpy as np
import pytest

from feedback_store.trust.krippendorff import alpha

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers,
# twelve units, missing values; the paper gives 0.743 nominal and 0.815 ordinal.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
VOTES = [
    (unit, float(value)) for row in PUBLISHED for unit, value in enumerate(row) if value is not None
]


def test_the_published_example() -> None:
    assert alpha(VOTES) == pytest.approx(0.743, abs=5e-4)
    assert alpha(VOTES, "ordinal") == pytest.approx(0.815, abs=5e-4)


def test_against_a_loop_over_all_pairs() -> None:
    rng = np.random.default_rng(3)
    votes = [(int(rng.integers(20)), float(rng.choice([-1, 1]))) for _ in range(90)]
    by_item: dict[int, list[float]] = {}
    for item, value in votes:
        by_item.setdefault(item, []).append(value)
    units = [values for values in by_item.values() if len(values) > 1]
    within = sum(
        sum(a != b for a, b in itertools.permutations(values, 2)) / (len(values) - 1)
        for values in units
    )
    everything = [value for values in units for value in values]
    n = len(everything)
    among = sum(a != b for a, b in itertools.permutations(everything, 2)) / (n - 1)
    assert alpha(votes) == pytest.approx(1 - within / among)


def test_ends() -> None:
    assert alpha([("a", 1), ("a", 1), ("b", -1), ("b", -1)]) == 1.0
    assert alpha([("a", 1), ("a", -1), ("b", -1), ("b", 1)]) < 0
    assert alpha([("a", 1), ("b", -1)]) is None
    assert alpha([("a", 1), ("a", 1)]) is None
    assert alpha([]) is None
