"""What is told of many texts at once is what is told of each by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_store.joined import Joined
from feedback_store.redact import redact, redact_all
from rlhf.data.cleaning import Cleaner, CleaningRules
from rlhf.data.exact_keys import exact_key, exact_keys
from rlhf.data.language import language, languages
from rlhf.data.path_stages import silent_answers, stages_of
from rlhf.data.strict_json import loads
from rlhf.errors import DataError
from rlhf.prepare.lines import encode, row_line

PIECES = """我叫|姓名：|张伟|王小明|欧阳|患者|李芳|先生|医生|联系人|住在
13812345678|138 1234 5678|１３８|京A12345|粤 B|D12345|a.b@c.com|12号|3栋501室|北京市海淀区中关村大街
3-2-501|双凤镇|石桥村|-|·|二|楼|单元|12 MAIN, NY, NY 10001|PSC 123, Box 12|USS X, FPO AE 12345
Mr. Smith|My name is Ann|name: bob|Hello
您好，|希望我的回答|祝好|。。|，，|！|<b>|&lt;|ＡＢ|ß|İ|Best regards,|Ann|中文|ひら|é|ſ
...|…|—|_|2|³|٣"""
ODD = ("\u3000", "\t", "\n", " ", "\u200b", "e\u0301", "\r\n", "\x85")
pieces = st.sampled_from([*PIECES.replace("\n", "|").split("|"), *ODD])
texts = st.lists(pieces | st.text(max_size=3), max_size=8).map("".join)
many = st.lists(texts, min_size=1, max_size=6)


@settings(max_examples=150)
@given(many)
def test_redaction(some: list[str]) -> None:
    assert redact_all(some) == [redact(text) for text in some]


CLEANERS = [Cleaner(CleaningRules(boilerplate=phrases)) for phrases in (True, False)]


@settings(max_examples=150)
@given(many, st.sampled_from(CLEANERS))
def test_cleaning_many(some: list[str], clean: Cleaner) -> None:
    cleaned = list(some)
    for at, begun, rounds in clean.begun(some):
        cleaned[at] = clean.finished(begun, rounds)
    assert cleaned == [clean(text) for text in some]


@settings(max_examples=100)
@given(st.lists(many, max_size=4))
def test_languages_and_keys(rows: list[list[str]]) -> None:
    joined = Joined([text for row in rows for text in row])
    counts = [len(row) for row in rows]
    assert languages(joined, counts) == [language("\n".join(row)) for row in rows]
    first, whole = exact_keys(joined, counts)
    assert first == [exact_key(row[0]) for row in rows]
    assert whole == [exact_key(*row) for row in rows]


@pytest.mark.parametrize("text", [' {"a": 1}', '{"a": 1} ', "[1, 2]", '"a"', "1"])
def test_white_space_around_json_is_none_of_it(text: str) -> None:
    assert loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1} 2', '{"a": "\n"}', '{"a": 1, "a": 2}', "[NaN]"]
)
def test_what_is_wrong_with_json_is_told(text: str) -> None:
    with pytest.raises(DataError, match=r"JSON|twice"):
        loads(text.encode())


MARKS = """对吗|已把订单|确认|您是说|我的|理解对|请您|再|告诉我|总结|：|记住这|三点
麻烦您|想|先|了解一下您|？|你"""


@settings(max_examples=150)
@given(
    st.lists(
        st.lists(st.sampled_from(MARKS.replace("\n", "|").split("|")), max_size=5).map("".join),
        max_size=6,
    )
)
def test_answers_that_are_silent_hold_no_stage(answers: list[str]) -> None:
    for answer, quiet in zip(answers, silent_answers(Joined(answers)), strict=True):
        row = {"prompt": [], "completion": answer, "language": "zh"}
        assert stages_of(row, silent=quiet) == stages_of(row)


values = texts | st.booleans() | st.floats(allow_nan=False) | st.lists(texts, max_size=2)


@given(some=many, others=st.dictionaries(st.sampled_from("abc"), values))
def test_a_row_is_spelt_as_json_spells_it(some: list[str], others: dict[str, Any]) -> None:
    row = {"prompt": [{"role": "user", "content": text} for text in some], **others}
    assert row_line(row) == encode(row)
