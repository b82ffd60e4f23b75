import pytest

from feedback_store.trust import agreement, recency, row_weight


def test_agreement_is_the_size_of_the_mean_vote() -> None:
    assert agreement([1.0, 1.0]) == agreement([-1.0]) == 1.0
    assert agreement([1.0, -1.0]) == 0.0
    assert agreement([1.0, 1.0, -1.0]) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="needs a vote"):
        agreement([])


def test_recency_halves_with_every_half_life() -> None:
    assert recency(10_000, None) == 1.0
    assert [recency(age, 30.0) for age in (0, 30, 60)] == [1.0, 0.5, 0.25]


def test_a_weight_is_the_product() -> None:
    assert row_weight(0.5, 0.5, 0.5) == 0.125
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="agreement lies between"):
            row_weight(1.0, wrong, 1.0)
