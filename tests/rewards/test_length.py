import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.length import band, count_tokens, length


def test_an_answer_and_its_translation_are_about_as_long(pairs):
    zh = [count_tokens(chinese) for chinese, _ in pairs]
    en = [count_tokens(english) for _, english in pairs]
    assert 0.8 < sum(zh) / sum(en) < 1.25
    assert all(0.65 < a / b < 1.5 for a, b in zip(zh, en, strict=True))


def test_one_run_of_letters_is_no_way_around_the_limit():
    assert count_tokens("a" * 800) >= 100
    assert length(["?"], ["a" * 8000]) == [0.0]


@pytest.mark.parametrize(
    ("count", "score"), [(0, 0.0), (10, 0.5), (20, 1.0), (80, 1.0), (120, 0.5), (160, 0.0)]
)
def test_band(count, score):
    assert band(count, 20, 80) == pytest.approx(score)


def test_exact_counts_the_models_tokens():
    ids = [[1] * 3, [1] * 10]
    assert length(["?"] * 2, ["x", "x"], low=2, high=5, exact=True, completion_ids=ids) == [1, 0]
    with pytest.raises(BadParameter, match="completion_ids"):
        length(["?"], ["x"], exact=True)


@pytest.mark.parametrize("params", [{"low": 9, "high": 3}, {"low": -1}, {"softness": -1}])
def test_an_impossible_band_is_refused(params):
    with pytest.raises(BadParameter, match="length needs"):
        length(["?"], ["x"], **params)


@given(st.floats(0, 1e6), st.floats(0, 100), st.floats(0, 100), st.floats(0, 3))
def test_band_is_bounded(count, low, more, softness):
    assert 0 <= band(count, low, low + more, softness) <= 1


@given(st.floats(80, 300), st.floats(0, 50))
def test_longer_than_the_band_never_scores_better(count, more):
    assert band(count + more, 20, 80) <= band(count, 20, 80)
