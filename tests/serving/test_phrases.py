import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.serving.phrases import Phrases, plain, words


def found(phrases, text):
    lists = [("s", 1.0, phrase) for phrase in phrases]
    return [" ".join(match.phrase) for match in Phrases(lists).find(words(plain(text)))]


def test_the_longest_phrase_hides_those_inside_it():
    assert found(["bad", "not bad"], "not bad, but bad") == ["not bad", "bad"]
    assert found(["不满", "不满意"], "很不满意") == ["不 满 意"]


def test_words_have_borders_and_stems_have_endings():
    assert found(["rude"], "crude rudely RUDE") == ["rude"]
    assert found(["disappoint*"], "disappointed, disappointing") == ["disappoint*"] * 2
    assert found(["can't"], "cant can’t") == ["cant", "can't"]


def test_a_gap_ends_with_the_sentence_and_after_five_words():
    assert found(["tried~times"], "I tried it ten times") == ["tried ~ times"]
    assert found(["tried~times"], "I tried. Ten times") == []
    assert found(["tried~times"], "tried a b c d e f times") == []
    assert found(["打~电话"], "打了三次电话") == ["打 ~ 电 话"]


@pytest.mark.parametrize("phrase", ["", " , ", "~", "a~", "a~b~c", "*", "abc*"])
def test_a_phrase_without_words_is_refused(phrase):
    with pytest.raises(ValueError, match="phrase"):
        Phrases([("s", 1.0, phrase)])


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12), st.data())
def test_finds_what_a_search_of_every_place_finds(text, data):
    row = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(" ".join)
    phrases = data.draw(st.sets(row, min_size=1, max_size=5))
    expected, covered = [], 0
    for start in range(len(text)):
        ends = [e for e in range(start + 1, len(text) + 1) if " ".join(text[start:e]) in phrases]
        if ends and ends[-1] > covered:
            covered = ends[-1]
            expected.append(" ".join(text[start:covered]))
    assert found(sorted(phrases), " ".join(text)) == expected
