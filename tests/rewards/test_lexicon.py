import re

from hypothesis import given
from hypothesis import strategies as st

from rewards.texts.lexicon import Lexicon, fold

PHRASES = ["ab", "a b", "ab*", "b", "傻瓜", "傻瓜相机", "瓜*"]
TEXT = st.text(st.sampled_from("abcB傻瓜相机 '’İ。"), max_size=30)


def brute(phrases, text):
    """The same by trying every phrase at every place."""
    text, found, at = fold(text), [], 0
    while at < len(text):
        ends = [end for phrase in phrases for end in [match_end(phrase, text, at)] if end]
        if ends:
            found.append((at, max(ends)))
            at = max(ends)
        else:
            at += 1
    return found


def match_end(phrase, text, at):
    key = phrase.removesuffix("*")
    if not text.startswith(key, at):
        return None
    end = at + len(key)
    if key.isascii():
        if at and re.match("[a-z0-9]", text[at - 1]):
            return None
        if phrase.endswith("*"):
            end = re.compile("[a-z]*").match(text, end).end()
        if re.compile("[a-z0-9]").match(text, end):
            return None
    return end


@given(TEXT, st.lists(st.sampled_from(PHRASES), min_size=1, max_size=5, unique=True))
def test_every_phrase_is_found_as_by_trying_them_all(text, phrases):
    if {"ab", "ab*"} <= set(phrases):
        phrases.remove("ab")  # the wider of two that are the same word
    found = [(hit.start, hit.end) for hit in Lexicon({"all": phrases}).find(text)]
    assert found == brute(phrases, text)


def test_whole_words_in_english_and_anywhere_in_chinese():
    lexicon = Lexicon({"word": ["ass", "don't", "操心"]})
    found = [hit.phrase for hit in lexicon.find("Assess the class. DON’T 别操心了, ass!")]
    assert found == ["don't", "操心", "ass"]


def test_a_longer_phrase_guards_a_shorter_one():
    lexicon = Lexicon({"insult": ["傻瓜"], "harmless": ["傻瓜相机"]})
    assert [hit.group for hit in lexicon.find("傻瓜相机不是给傻瓜用的")] == ["harmless", "insult"]


def test_an_empty_lexicon_finds_nothing():
    assert Lexicon({"none": []}).find("anything") == []


@given(st.text())
def test_folding_keeps_every_character_in_its_place(text):
    assert len(fold(text)) == len(text)
