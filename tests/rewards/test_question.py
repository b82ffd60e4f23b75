import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.question import asks, question

TOLD_ZH = "睡前可以做几次深呼吸，把灯光调暗，也不要再看手机。"
TOLD_EN = "Before sleep you could breathe deeply, dim the lights and put away the phone. "


def score(answer, **params):
    return question(["?"], [answer], **params)[0]


@pytest.mark.parametrize(
    "answer",
    [
        TOLD_ZH + "需要我提供放松技巧吗？",
        TOLD_ZH + "需要我提供放松技巧吗",
        TOLD_ZH + "如果需要，可以告诉我您的作息。",
        TOLD_ZH + "您方便说说平时几点睡？😀",
        TOLD_EN + "Shall I show you a way to relax?",
        TOLD_EN + "Let me know if it helps.",
        TOLD_EN + "What time do you usually go to bed?\nTake care!",
    ],
)
def test_a_closing_question_or_offer_earns_all(answer):
    assert score(answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        TOLD_ZH,
        TOLD_EN,
        "",
        "？？？",
        "😀",
        TOLD_EN + "See https://a.example/b?c=1",
        TOLD_EN + "\n```py\nis_it(why?)\n```",
        TOLD_EN + "Many people say to me “why can I not sleep?”",
    ],
)
def test_what_hands_nothing_back_earns_nothing(answer):
    assert score(answer) == 0.0


def test_a_question_further_up_earns_less():
    early = "您平时几点睡？" + TOLD_ZH + "坚持一周会有改善。注意休息。"
    assert score(early) == pytest.approx(0.4)


def test_an_interrogation_and_a_bare_question_earn_little():
    assert score(TOLD_EN + "Why? " * 8 + "Since when?") < 0.3
    assert score("需要我提供放松技巧吗？") < 0.2 and score("Ok?") == 0.0
    assert score(TOLD_EN + "Why? Since when? How long?", most=3) == 1.0


def test_both_languages_are_treated_alike(pairs):
    assert [score(zh) > 0.4 for zh, _ in pairs] == [score(en) > 0.4 for _, en in pairs]


def test_most_is_at_least_one():
    with pytest.raises(BadParameter, match="most"):
        score("x", most=0)


@given(st.text(st.sampled_from("好吗？? ?“”\"'…。.ab`~\n"), max_size=60))
def test_bounded(text):
    assert 0 <= score(text) <= 1 and asks(text) in (True, False)
