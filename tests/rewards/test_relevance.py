import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.relevance import content_terms, overlap, relevance

CASES = [
    (
        "我的快递三天没有更新物流信息，怎么查询？",
        "您可以在订单页点击物流信息查询快递的最新位置，若仍未更新请联系快递公司核实。",
        "今天天气晴朗，适合出门散步，记得带上水杯和帽子。",
    ),
    (
        "My parcel has had no tracking update for three days, how can I check it?",
        "You can check the tracking of your parcel on the order page, or call the courier today.",
        "The weather is sunny and good for a walk, so bring a hat and something to drink.",
    ),
]


@pytest.mark.parametrize(("asked", "on_it", "off_it"), CASES)
def test_an_answer_to_the_question_scores_above_one_to_another(asked, on_it, off_it):
    good, bad = relevance([asked] * 2, [on_it, off_it])
    assert good > 0.7 and bad == 0.0


@pytest.mark.parametrize(("asked", "on_it", "off_it"), CASES)
def test_giving_the_question_back_or_stuffing_it_earns_nothing(asked, on_it, off_it):
    echo, stuffed, empty = relevance([asked] * 3, [asked, asked * 50, ""])
    assert echo == stuffed == empty == 0.0


@pytest.mark.parametrize(("asked", "on_it", "off_it"), CASES)
def test_more_of_the_same_words_never_pays(asked, on_it, off_it):
    assert overlap(asked, on_it + on_it) <= overlap(asked, on_it)


def test_endings_and_forms_meet():
    assert content_terms("refunds refunded refunding") == ["refund"] * 3
    assert overlap("Can parcels be refunded?", "A refund for the parcel takes three days.") == 1.0


def test_the_last_turn_is_what_was_asked():
    talk = [
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": "On its way."},
        {"role": "user", "content": "Which warranty does the kettle have?"},
    ]
    answers = ["The kettle has a warranty of two years.", "The parcel comes tomorrow morning."]
    assert relevance([talk] * 2, answers) == [1.0, 0.0]


def test_a_question_without_content_has_no_score():
    assert relevance(["你好", "Hi!", "😀", ""], ["您好"] * 4) == [None] * 4


def test_another_language_is_no_way_around():
    assert relevance(["高血压能不能喝咖啡？"], ["Coffee raises blood pressure a bit."]) == [0.0]


def test_enough_is_a_share():
    with pytest.raises(BadParameter, match="enough"):
        relevance(["?"], ["x"], enough=0)


@given(st.text(), st.text())
def test_bounded(question, answer):
    score = overlap(question, answer)
    assert score is None or 0 <= score <= 1
