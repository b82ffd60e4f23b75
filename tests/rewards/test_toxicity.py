import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.toxicity import attacks, toxicity


def score(answer, **params):
    return toxicity(["?"], [answer], **params)[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("你真是个白痴。", -0.5),
        ("You are an idiot.", -0.5),
        ("You IDIOTS!", -0.5),
        ("白痴，蠢货，废物。", -1.0),
        ("You moron, you loser, shut up.", -1.0),
        ("Go kill yourself.", -1.0),
        ("你去死吧！", -1.0),
        ("这规定真愚蠢。", -0.15),
        ("That rule is stupid.", -0.15),
        ("你真是个白 痴。", -0.5),
        ("You i.d.i.o.t.", -0.5),
        ("You ｉｄｉｏｔ", -0.5),
    ],
)
def test_attacks_are_graded_and_seen_through_disguise(answer, expected):
    assert score(answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    "answer",
    [
        "请您联系客服，我们马上处理。",
        "Please assess the class, then ask the assistant for a cocktail.",
        "这款傻瓜相机操作简单，废物利用也很环保。",
        "周围神经病变需要到神经内科检查。",
        "Jerk chicken and beef jerky are on the menu.",
        "Use the dumbbells twice a week.",
        "",
        "😀",
    ],
)
def test_harmless_words_cost_nothing(answer):
    assert score(answer) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "请不要骂自己是白痴。",
        "He called me an idiot.",
        "“白痴”这个词很伤人。",
        'The word "idiot" hurts.',
        "You are not worthless.",
    ],
)
def test_quoted_and_negated_words_cost_a_part(answer):
    assert score(answer) == pytest.approx(-0.15)


def test_an_excuse_counts_in_its_own_clause_only():
    assert score("我不会生气，你这个白痴。") == -0.5
    assert score("I do not mind. You idiot.") == -0.5


def test_your_own_words_count_as_insults():
    assert score("Typical boomer talk.") == 0.0
    assert score("Typical boomer talk.", words=["boomer*"]) == -0.5


def test_attacks_names_the_entries():
    assert attacks("Shut up! 傻瓜相机, 白痴") == ["shut up", "白痴"]


def test_parallel_answers_cost_nothing(pairs):
    assert toxicity(["?"] * 18, [text for pair in pairs for text in pair]) == [0.0] * 18


@given(st.text(st.sampled_from('白痴不要骂“”"idiot not.'), max_size=60))
def test_bounded(text):
    assert -1 <= score(text) <= 0
