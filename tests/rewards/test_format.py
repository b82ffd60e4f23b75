import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.format import asked_format, format, language_kept, parse_format

LIST_ZH, LIST_EN = "1. 打开应用\n2. 点击退款", "Steps:\n- Open the app\n- Tap on refund"


def score(answer, asked="", **params):
    return format([asked], [answer], **params)[0]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("请用列表说明退货流程", "list"),
        ("分点回答：怎么改密码", "list"),
        ("Give me a bulleted list of causes", "list"),
        ("List three causes", "list"),
        ("请以JSON格式返回", "json"),
        ("Answer as JSON with a key name", "json"),
        ("请带小标题写一篇说明", "headings"),
        ("Write it with markdown headings", "headings"),
        ("不要用markdown", "plain"),
        ("Reply without bullets, please", "plain"),
        ("I am on the waiting list", None),
        ("你好", None),
    ],
)
def test_what_a_prompt_asks_for(asked, name):
    assert asked_format(asked) == name


@pytest.mark.parametrize(
    ("wants", "answer", "expected"),
    [
        ("list", LIST_ZH, 1.0),
        ("list", LIST_EN, 1.0),
        ("列表", "一、打开应用\n二、点击退款", 1.0),
        ("list", "打开应用，然后点击退款。", 0.0),
        ("list", "- same\n- same\n- same", 0.0),
        ("list", "One line.\nTwo lines.\nThree lines.\nFour lines.\n- a\n- b", 4 / 6),
        ("list", "", 0.0),
        ("json", '{"a": [1, 2]}', 1.0),
        ("json", '```json\n{"a": 1}\n```', 1.0),
        ("json", 'Here you are: {"a": 1}', 0.0),
        ("json", '{"a": NaN}', 0.0),
        ("json", "3", 0.0),
        ("json", "[" * 50_000, 0.0),
        ("json", "", 0.0),
        ("headings", "# One\ntext\n\n## Two\ntext", 1.0),
        ("headings", "# One\n# Two\n# Three\ntext", 1 / 3),
        ("headings", "#hashtag text", 0.0),
        ("plain", "Open the app, then tap on refund.", 1.0),
        ("plain", "- a\n- **b**\n- `c`", 0.0),
        ("plain", "One **word** only.", 1 / 3),
        ("plain", "", 0.0),
    ],
)
def test_each_format(wants, answer, expected):
    assert score(answer, wants=wants, same_language=False) == pytest.approx(expected)


def test_column_then_parameter_then_prompt():
    rows = (["List the steps in detail"] * 3, [LIST_EN] * 3)
    assert format(*rows, format=["list", "plain", None]) == [1.0, pytest.approx(2 / 3), 1.0]
    assert score(LIST_EN, "List the steps in detail", wants="json") == 0.0
    assert (
        score(LIST_EN, "List the steps in detail", from_prompt=False, same_language=False) is None
    )
    assert parse_format(["list"]) is None


@pytest.mark.parametrize(
    ("asked", "answer", "kept"),
    [
        ("怎么退款？", "请在订单页点击退款。", 1.0),
        ("怎么退款？", "Tap on refund on the order page.", 0.0),
        ("How do refunds work?", "请在订单页点击退款。", 0.0),
        ("How do refunds work?", "Tap on refund.", 1.0),
        ("怎么安装 Python？", "请到官网下载 Python 安装包，然后运行 installer。", 1.0),
        ("把这句话翻译成英文：你好", "Hello.", None),
        ("Say it in Chinese: hello", "你好。", None),
        ("123?", "你好。", None),
        ("怎么写循环？", "```py\nfor i in x: print(i)\n```", None),
        ("怎么退款？", "", 0.0),
    ],
)
def test_an_answer_keeps_its_questions_language(asked, answer, kept):
    assert language_kept(asked, answer) == kept


def test_paragraphs_are_bounded():
    three = "One.\n\nTwo.\n \n\nThree."
    assert score(three, max_paragraphs=3, same_language=False) == 1.0
    assert score(three, max_paragraphs=2, same_language=False) == pytest.approx(2 / 3)
    assert score(three, max_paragraphs=1, asked="Why?") == pytest.approx((1 / 3 + 1) / 2)


def test_mistakes_are_named():
    with pytest.raises(BadParameter, match="no format 'lists'"):
        score("x", wants="lists")
    with pytest.raises(BadParameter, match="max_paragraphs"):
        score("x", max_paragraphs=0)


@given(
    st.recursive(st.none() | st.integers() | st.text('a"\\]}\n退'), st.lists, max_leaves=8),
    st.text(),
)
def test_json_is_what_the_library_reads(value, text):
    assert score(json.dumps([value]), wants="json") == 1.0
    assert score(text, wants="json") in (0.0, 1.0)


@given(st.text(st.sampled_from("-*#1. `\n一、退a|>"), max_size=60))
def test_bounded(text):
    for wants in ("list", "json", "headings", "plain"):
        assert 0 <= score(text, "怎么退款", wants=wants, max_paragraphs=1) <= 1
