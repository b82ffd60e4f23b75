import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.texts.text import (
    cjk_count,
    completion_text,
    is_chinese,
    prompt_text,
    sentences,
    spans,
    words,
)


def test_completion_text_reads_only_what_the_model_said():
    turn = [
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": "secret result"},
        {"role": "assistant", "content": [{"type": "text", "text": "Done."}, {"type": "image"}]},
    ]
    assert completion_text(turn).strip() == "Done."
    assert completion_text("Done.") == completion_text([{"content": "Done."}]) == "Done."
    assert completion_text([]) == ""


def test_prompt_text_keeps_the_conversation():
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    assert prompt_text(turns) == "a\nb"


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("请用 Python 写一个函数", True),
        ("Say 你好 to them all", False),
        ("", False),
        ("123", False),
    ],
)
def test_is_chinese(text, chinese):
    assert is_chinese(text) is chinese


def test_sentences_keep_decimals_and_quotes_whole():
    assert sentences("It is 3.5 kg. “Really?” Yes!") == ["It is 3.5 kg.", "“Really?”", "Yes!"]
    assert sentences("他说:“好。”我走了……\n再见") == ["他说:“好。”", "我走了……", "再见"]
    assert sentences("。。。 ?!") == []


def test_words_are_segmented_in_chinese(capfd):
    assert words("高血压患者不宜熬夜") == ["高血压", "患者", "不宜", "熬夜"]
    assert words("Don't panic") == ["don't", "panic"]
    assert capfd.readouterr() == ("", "")  # jieba keeps quiet


@given(st.text())
def test_spans_hold_all_cjk_characters(text):
    assert sum(len(span) for span, cjk in spans(text) if cjk) == cjk_count(text)
