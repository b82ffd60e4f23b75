import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feedback_store.redact import DETECTORS
from rlhf.config import load, validate
from rlhf.data.cleaning import Cleaner, CleaningRules, Rule
from rlhf.errors import DataError, UsageError

clean = Cleaner(CleaningRules())

CLEANED = [
    ("您好，很高兴为您服务！多喝水。", "多喝水。"),
    ("你好：很高兴为您服务，根据您的情况，需要检查。", "根据您的情况，需要检查。"),
    ("按时服药，希望我的解答能帮到您，谢谢！", "按时服药。"),
    ("期望上述的答案可以协助到你，谢谢。多休息。", "期望上述的答案可以协助到你，谢谢。多休息。"),
    ("你好像没有发烧", "你好像没有发烧"),
    ("您好", "您好"),
    ("您好！谢谢。", "谢谢。"),
    ("祝您早日康复！", "祝您早日康复！"),
    ("Hello! Restart it. I hope this helps!", "Restart it."),
    ("Restart it.\n\nBest regards,\nAnn Lee\nSupport team", "Restart it."),
    ("Restart it. Kind regards, Ann", "Restart it."),
    ("Regards to your mother from all of us", "Regards to your mother from all of us"),
    ("<p>一</p><p>二<br/>三</p>", "一\n\n二\n三"),
    ('<a href="x.html" target=_blank>看这里</a>', "看这里"),
    ("<SCRIPT>alert(1)</SCRIPT>好<!-- <b>暗</b> -->的", "好的"),
    ("a < b, x<y and c>d, List<int>, 3<5", "a < b, x<y and c>d, List<int>, 3<5"),
    ("<address>x</address> <ADDRESS>", "x\n <ADDRESS>"),
    ("体温&lt;37&nbsp;度 &amp;amp; &unknown; AT&T", "体温<37 度 & &unknown; AT&T"),
    ("&amp;lt;b&gt;x", "x"),
    ("<<b>b>x", "x"),
    ("好！！！！真的？？？等等。。。", "好！真的？等等。"),
    ("嗯………是——的......", "嗯……是——的..."),
    ("|-----|=====|", "|---|===|"),
    ("ＡＢＣ１２３％（对）：，！", "ABC123%（对）：，！"),
    ("cafe\u0301", "café"),
    ("a\u200bb\ufeffc\x00d\u202ee", "abcde"),
    ("👨\u200d👩\u200d👧 ok", "👨\u200d👩\u200d👧 ok"),
    ("می\u200cخواهم", "می\u200cخواهم"),
    ("a\u00a0\u3000 b\t\tc\r\nd", "a b c\nd"),
    ("　　第一段\n　　第二段", "第一段\n第二段"),
    ("def f():\n    return  1\n\n\n\n\nx  ", "def f():\n    return 1\n\nx"),
]


@pytest.mark.parametrize(("text", "expected"), CLEANED)
def test_cleaned(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize("kind", DETECTORS)
def test_placeholders_stay(kind: str) -> None:
    assert clean(f"找<{kind}>吧") == f"找<{kind}>吧"


FRAGMENTS = (
    "您好", "你好", "谢谢", "，", "。", "！", "？", "!", ".", ",", " ", "  ", "\n", "\t", "　",
    "\r\n", "<b>", "</b>", "<", ">", "<br/>", "<p", "b>", "&", "amp;", "lt;", "gt;", "&lt;",
    "&#60;", "&nbsp;", "&amp;", "#38;", "<!--", "-->", "<script>", "</script>", "<PHONE>",
    "希望我的回答对您有帮助", "中", "很高兴为您服务", "Best regards", "Ann", "hello", "hi", "…",
    "—", "-", "\u200b", "\u200d", "👨", "👩", "\u0301", "e", "Ａ", "１", "＜", "＆", "\x00",
    "感谢您的咨询", "\ufeff", "\u3000",
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14))
def test_cleaning_is_idempotent(fragments: list[str]) -> None:
    once = clean("".join(fragments))
    assert clean(once) == once


@settings(max_examples=150)
@given(st.text(max_size=80))
def test_any_text_is_cleaned_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once


HOSTILE = {
    "tags": "<b>" * 70_000,
    "open tags": "<a x='" * 35_000,
    "attributes": "<a" + " x=y" * 50_000,
    "nested tags": "<" * 100_000 + "b>" * 100_000,
    "comments": "<!--" * 50_000,
    "scripts": "<script>" * 25_000,
    "ampersands": "&" + "amp;" * 50_000,
    "half entities": "&#" * 100_000,
    "spaces": "a" + " " * 200_000 + "b",
    "lines of spaces": " \n" * 100_000,
    "marks": "！？" * 100_000,
    "greetings": "您好，" * 70_000,
    "closings": "。谢谢" * 70_000,
    "gaps": "希望我的" * 50_000,
    "joiners": "\u200d" * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_long_hostile_texts_take_linear_time(name: str) -> None:
    started = time.process_time()
    clean(HOSTILE[name])
    assert time.process_time() - started < 3.0  # what is quadratic takes minutes


def test_each_step_can_be_switched_off() -> None:
    names = ["markup", "invisible", "unicode", "marks", "spaces", "boilerplate"]
    off = Cleaner(CleaningRules.model_validate(dict.fromkeys(names, False)))
    text = "您好，<b>Ａ\u200b</b>  ！！ 谢谢"
    assert off(text) == text


def test_traditional_becomes_simplified() -> None:
    simplified = Cleaner(CleaningRules(simplified=True))
    assert simplified("醫生說頭髮乾燥") == "医生说头发干燥"
    assert simplified("头发 hair") == "头发 hair"


def test_own_rules_and_phrases(tmp_path: Path) -> None:
    phrases = tmp_path / "phrases.yaml"
    phrases.write_text("opening: [小助手*为您解答]\n", encoding="utf-8")
    rules = validate(
        CleaningRules,
        {
            "phrases": phrases,
            "rules": [{"pattern": r"\[图片\d*\]"}, {"pattern": r"(\d+)\s*块", "replace": r"\1元"}],
        },
        "x.yaml",
    )
    assert Cleaner(rules)("小助手丽丽为您解答：[图片3]一共20 块") == "一共20元"


@pytest.mark.parametrize(
    ("pattern", "replace", "told"),
    [
        ("(", "", "no regular expression"),
        ("a", r"\2", "no regular expression"),
        ("(a+)+$", "", "takes too long"),
        (r"(\w+\s?)*$", "", "takes too long"),
        ("a", "aa", "finds its own replacement"),
        ("", "", "at least 1 character"),
        ("a" * 2000, "", "at most 1000"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, replace: str, told: str) -> None:
    values = {"rules": [{"pattern": pattern, "replace": replace}]}
    with pytest.raises(UsageError, match=told) as refused:
        validate(CleaningRules, values, "x.yaml")
    assert "\n" not in str(refused.value)


def test_a_pattern_that_slips_through_stops_at_its_text() -> None:
    rule = Rule(pattern="(x+x+)+y")
    with pytest.raises(DataError, match="takes too long on a text of"):
        Cleaner(CleaningRules(rules=(rule,)))("x" * 5_000)


def test_a_rule_takes_plain_values_only() -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate({"pattern": 3})


def test_the_phrases_shipped_are_in_order() -> None:
    import rlhf.data.boilerplate as room

    shipped = load(Path(room.__file__).with_name("boilerplate.yaml"))
    assert set(shipped) == set(room.Phrases.model_fields)
    for phrases in shipped.values():
        assert len(phrases) == len(set(phrases))
