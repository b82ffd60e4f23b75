import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter, repetition_rate
from rewards.repetition import repetition
from rewards.texts.text import sentences

TEXT = st.text(st.sampled_from("多喝水休息好的吧吗ab c,，.。!！\n😀12"), max_size=80)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", 0.0),
        ("请按时休息。", 0.0),
        ("多喝水，多喝水，多喝水，多喝水", 4 / 7),  # 7 windows of 6 characters, 3 different
        ("good good good good", 0.5),
        ("好的。好的。", 0.5),
        ("Call us. call us.", 0.5),
        ("😀😀😀😀😀😀😀", 0.5),
    ],
)
def test_rate(text, rate):
    assert repetition_rate(text) == pytest.approx(rate)


def test_chinese_loops_count_as_much_as_english_ones():
    zh = repetition_rate("请按时吃饭并且早点休息" * 6)
    en = repetition_rate("please eat on time and rest early " * 6)
    assert zh > 0.7 and en > 0.7 and abs(zh - en) < 0.1


def test_ordinary_answers_repeat_nothing(pairs):
    assert max(repetition_rate(text) for pair in pairs for text in pair) < 0.05


def test_n_widens_the_window():
    assert repetition(["?"], ["a b a b"], n=2) == pytest.approx([-1 / 3])
    assert repetition(["?"], ["a b a b"], n=3) == [0.0]
    with pytest.raises(BadParameter):
        repetition(["?"], ["a"], n=0)


@given(TEXT, st.data())
def test_saying_a_sentence_again_never_raises_the_score(text, data):
    said = sentences(text)
    if said:
        longer = f"{text}\n{data.draw(st.sampled_from(said))}"
        assert repetition(["?"], [longer])[0] <= repetition(["?"], [text])[0]


@given(TEXT)
def test_bounded_and_deterministic(text):
    (score,) = repetition(["?"], [text])
    assert -1 <= score <= 0 and repetition(["?"], [text]) == [score]
