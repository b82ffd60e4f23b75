import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.citation import citation

TEA = "Black tea holds about half as much caffeine as filter coffee does, a study of drinks found."
SLEEP = "睡前一小时减少屏幕光照可以缩短入睡时间，这一结论来自一项睡眠研究。"


def score(answer, sources=None, **params):
    return citation(["?"], [answer], **params, sources=[sources])[0]


@pytest.mark.parametrize(
    ("answer", "sources", "expected"),
    [
        ("Tea has less caffeine than coffee [1].", [TEA], 1.0),
        ("Tea has less caffeine than coffee. [1]", [TEA], 1.0),
        ("睡前少看屏幕可以缩短入睡时间[1]。", [SLEEP], 1.0),
        ("睡前少看屏幕可以缩短入睡时间【1】。", [SLEEP], 1.0),
        ("睡前少看屏幕可以缩短入睡时间。[1]", {"1": SLEEP}, 1.0),
        ("Tea has less caffeine than coffee [2].", [TEA], -1.0),
        ("Tea has less caffeine than coffee [1, 2].", [TEA], -0.5),
        ("Tea has less caffeine than coffee.", [TEA], 0.0),
        ("Kettles boil water within five minutes or so [1].", [TEA], -1.0),
        ("See https://a.example/tea for all about tea.", ["https://a.example/tea"], 1.0),
        ("See https://b.example/tea for all about tea.", ["https://a.example/tea"], -1.0),
        ("睡前应当少看屏幕，早点休息（来源：睡眠研究）。", [SLEEP], 1.0),
        ("睡前应当少看屏幕，早点休息（来源：某大学）。", [SLEEP], -1.0),
        ("", [TEA], 0.0),
        ("Tea has less caffeine [1].", [], -1.0),
    ],
)
def test_citations_are_held_against_the_sources(answer, sources, expected):
    assert score(answer, sources) == pytest.approx(expected)


def test_half_of_the_claims_is_enough_and_more_is_not_asked():
    body = "Tea has less caffeine than coffee [1]. " + "Coffee is a drink that many people like. "
    assert score(body, [TEA]) == 1.0
    assert score(body + "It is grown in many warm countries of the world. " * 2, [TEA]) == 0.5
    assert score(body, [TEA], enough=1.0) == 0.5


def test_sprinkling_marks_does_not_pay():
    assert score("[1][1][1] [1] [1]", [TEA]) <= 0
    assert score("Tea has less caffeine than coffee [1][1][1][1].", [TEA]) == 1.0
    assert score("Hello there, dear customer, and welcome [1-20].", [TEA]) < 0


def test_without_sources_an_answers_own_references_serve():
    listed = "Tea has less caffeine than coffee [1].\n\n[1] A study of drinks, 2020."
    assert score(listed) == 1.0
    assert score("Tea has less caffeine than coffee [1].") == -1.0
    assert score("All about tea is at https://a.example/tea today.") == 1.0


def test_a_row_that_neither_has_nor_needs_sources_has_no_score():
    assert score("Tea has less caffeine than coffee.") is None
    assert citation(["?"], ["Tea has less caffeine than coffee."]) == [None]
    assert score("Tea has less caffeine than coffee.", required=True) == 0.0
    assert score("Is it tea, or is it coffee that you like?", required=True) == 0.0


def test_enough_is_a_share():
    with pytest.raises(BadParameter, match="enough"):
        score("x", enough=2)


@given(st.text(st.sampled_from("[]12,，-–(（来源：)。. ahttps://"), max_size=80), st.booleans())
def test_bounded(text, given_sources):
    value = score(text, [TEA] if given_sources else None)
    assert value is None or -1 <= value <= 1
