import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.readability import readability, reading_ease

EASY_ZH = "先关掉电源。等一分钟，再打开。如果灯还是不亮，请联系我们。"
HARD_ZH = "鉴于该装置罹患间歇性瘫痪之虞且囿于羸弱电压与龃龉线路" * 4 + "。"
EASY_EN = "Turn the power off. Wait a minute, then turn it on. If it is still dark, call us."
HARD_EN = (
    "Notwithstanding the aforementioned considerations, the comprehensive reconfiguration of "
    "interdepartmental communication infrastructure necessitates organizational deliberation."
)


def score(answer, **params):
    return readability(["?"], [answer], **params)[0]


@pytest.mark.parametrize(("easy", "hard"), [(EASY_ZH, HARD_ZH), (EASY_EN, HARD_EN)])
def test_easy_texts_read_easily(easy, hard):
    assert reading_ease(easy) > reading_ease(hard) + 40
    assert score(easy, high=120) == 1.0 and score(hard) < 0.3


@pytest.mark.parametrize(
    ("text", "words", "sentences", "syllables"),
    [
        ("The cat sat on the mat.", 6, 1, 6),
        ("My doctor recommended more sleep. I agree.", 7, 2, 12),
    ],
)
def test_english_is_fleschs_formula(text, words, sentences, syllables):
    expected = 206.835 - 1.015 * words / sentences - 84.6 * syllables / words
    assert reading_ease(text) == pytest.approx(expected)


def test_both_languages_are_treated_alike(pairs):
    zh, en = ([reading_ease(pair[at]) for pair in pairs] for at in (0, 1))
    assert abs(sum(zh) - sum(en)) / len(pairs) < 3
    assert max(abs(a - b) for a, b in zip(zh, en, strict=True)) < 15
    assert {score(text) for pair in pairs for text in pair} == {1.0}


def test_a_primer_is_too_easy_where_the_band_says_so():
    assert score("I am. You do. He is. We go.", high=80) == 0.0


@pytest.mark.parametrize(
    "text", ["", "OK.", "好的。", "😀" * 30, "```\nlong code here to read\n```", "1 2 3"]
)
def test_too_little_prose_has_no_score(text):
    assert score(text) is None


def test_traditional_characters_are_not_rare():
    assert reading_ease("請先關閉電源，再聯絡我們的客戶服務。") > 70


def test_impossible_bands_are_refused():
    for params in ({"low": 90, "high": 50}, {"softness": 0}):
        with pytest.raises(BadParameter, match="readability needs"):
            score("x", **params)


@given(st.text())
def test_bounded(text):
    value = score(text)
    assert value is None or 0 <= value <= 1
