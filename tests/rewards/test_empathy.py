import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.empathy import empathy

ZH, EN = "我最近压力很大，总是睡不着，好难受。", "I'm so stressed lately and I can't sleep."

SEEN = [
    (ZH, "听起来您最近真的很难受。", "建议您睡前一小时放下手机，做几次深呼吸，把灯光调暗一些。"),
    (
        EN,
        "It sounds like you are under a lot of stress. ",
        "You could try to put the phone away an hour before bed and dim the lights. ",
    ),
]


def score(asked, answer, **params):
    return empathy([asked], [answer], **params)[0]


@pytest.mark.parametrize(("asked", "kind", "advice"), SEEN)
def test_the_feeling_comes_before_the_advice(asked, kind, advice):
    first, last, none = (score(asked, a) for a in (kind + advice, advice + kind, advice))
    assert first > 0.95 and last == pytest.approx(first / 2) and none == 0.0


@pytest.mark.parametrize(("asked", "kind", "advice"), SEEN)
def test_kind_words_do_not_pay_twice_nor_alone(asked, kind, advice):
    once = score(asked, kind + advice)
    assert score(asked, kind * 2 + advice) <= once
    assert score(asked, kind * 20 + advice) < 0.25 and score(asked, kind) < 0.5 * once


def test_naming_the_feeling_is_worth_more_than_a_set_phrase():
    advice = SEEN[0][2]
    assert score(ZH, "我理解您。" + advice) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (ZH, "我理解您，不过您就是想太多了，早点睡觉就好，明天还要上班，注意身体。"),
        (EN, "I understand, but calm down, it's not a big deal, just go to bed early tonight."),
    ],
)
def test_waving_a_feeling_away_costs_all(asked, answer):
    assert score(asked, answer) == 0.0


def test_only_where_there_is_a_feeling():
    plain = "请问营业时间是几点？"
    assert score(plain, SEEN[0][1] + SEEN[0][2]) is None
    assert score(plain, SEEN[0][1] + SEEN[0][2], mood=["焦虑"]) > 0.9
    assert score(plain, SEEN[0][1] + SEEN[0][2], always=True) > 0.9
    assert score("Hours?", "Nine to five.", mood=["anxious"]) == 0.0
    assert score("Hours?", "Nine to five.", mood=[None]) is None


def test_both_languages_are_treated_alike(pairs):
    gaps = [abs(score("?", zh, always=True) - score("?", en, always=True)) for zh, en in pairs]
    assert max(gaps) <= 0.5 and sum(gaps) / len(gaps) <= 0.12


def test_share_is_a_share():
    with pytest.raises(BadParameter, match="share"):
        score("?", "x", share=1.5)


@given(st.text(st.sampled_from("我理解您。建议 I understand.you should难受!？"), max_size=80))
def test_bounded(text):
    assert 0 <= score("?", text, always=True) <= 1
