"""A batch read at once scores as its texts do one by one."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.rewards import answers
from rewards import check, count_tokens, repetition_rate
from rewards.compliance import compliance
from rewards.length import band, length
from rewards.repetition import repetition
from rewards.style import concise, formal, style
from rewards.texts import characters as ch
from rewards.texts.batch import read
from rewards.texts.literals import DIGIT, needs
from rewards.texts.plain import shown
from tests.rewards.test_compliance import FRAGMENTS

# Characters that end sentences, join words, hide letters, or have no simple lower case.
PIECES = [
    *"多喝水休息哈好的。！？；;.… \n\t’'\"”)）abcAB12٣_ßéΣσſ\u212aİı😀❶·・ー①ｆ：\u3000\u200b，,",
    *("don't", "ain’t", "lol ", "建议", "please ", "recommend", "ing", "哈哈哈", "yyds", "就医生"),
    *("customer service ", "business days5", " plan", "e.g. a b c d ", "，请您", "guaranteed "),
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
TEXTS = st.lists(TEXT | st.text(max_size=30), min_size=3, max_size=12)
OWN = {"legal": ["合同", "违约*", "plan of action", "tort*"]}
OWN_WORDS = tuple(OWN["legal"])


def near(scores):
    return pytest.approx(scores, abs=1e-12)


def agree(texts):
    asked = ["?"] * len(texts)
    assert length(asked, texts, low=4, high=9) == near([band(count_tokens(t), 4, 9) for t in texts])
    for n in (1, 3):
        assert repetition(asked, texts, n=n) == near([-repetition_rate(t, n) for t in texts])
    assert style(asked, texts, target="formal") == near([formal(t) for t in texts])
    mine = style(asked, texts, target="formal", terms=OWN)
    assert mine == near([formal(t, OWN_WORDS) for t in texts])
    assert style(asked, texts, target="concise") == near([concise(t) for t in texts])
    assert compliance(asked, texts) == [-1.0 if check(t) else 0.0 for t in texts]


@settings(max_examples=60)
@given(TEXTS)
def test_any_texts(texts):
    agree(texts)


def test_ordinary_answers():
    texts = answers(30, seed=5)
    agree([next(texts) for _ in range(300)])


def test_texts_over_several_parts(monkeypatch):
    monkeypatch.setattr("rewards.texts.batch._AT_ONCE", 100)
    texts = [*FRAGMENTS, *(t * 5 for t in FRAGMENTS)]
    assert len(list(read(texts))) > 9
    agree(texts)


def _disguised(text, draw):
    at = draw.randrange(len(text))
    return draw.choice(
        [
            text,
            " ".join(text),
            "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
            "".join(c + draw.choice(["", "", "\u200b", " ", "*"]) for c in text),
            text.replace("s", "ſ").replace("k", "\u212a").replace("i", "ı"),
            text.replace(" ", "\u00a0").replace("'", "＇"),
            text[:at] + draw.choice("．…·\n") + text[at + 1 :],
        ]
    )


@settings(max_examples=60)
@given(st.integers())
def test_every_disguise_of_a_violation_is_seen(seed):
    draw = random.Random(seed)
    texts = [_disguised(draw.choice(FRAGMENTS), draw) for _ in range(12)]
    assert compliance(["?"] * 12, texts) == [-1.0 if check(t) else 0.0 for t in texts]


def test_users_rules_and_prompts_in_a_batch():
    rules = [
        {"name": "loan", "when_prompt": ["贷款"], "require": ["以银行审批为准"]},
        {"name": "rival", "forbid": [r"a[a-z]{1,3}e\b"], "with": ["best|worst"]},
        {"name": "names", "personal": ["NAME"]},
    ]
    prompts = ["我想贷款", "我想贷款", "?", "?", "?"]
    texts = ["可以。", "以银行审批为准。", "Acme is the best.", "Acme is fine.", "多喝水。"]
    expected = [-1.0 if check(t, p, rules) else 0.0 for p, t in zip(prompts, texts, strict=True)]
    assert compliance(prompts, texts, rules=rules) == expected == [-1.0, 0.0, -1.0, 0.0, 0.0]


@pytest.mark.parametrize("gap", [0, 9, 20, 21, 22])
@pytest.mark.parametrize("word", ["buy", "buy" + "ing" * 12, "buy" + "o" * 90])
def test_words_as_far_apart_as_a_rule_allows(gap, word):
    rules = [
        {"name": "far", "forbid": [r"\bbuy\w*.{0,20}(stocks|shares)"]},
        {"name": "dose", "forbid": [r"\d{1,3}\W{0,3}mg"], "with": ["daily|nightly", "pills?"]},
    ]
    texts = [
        f"Now {word}{'. ' * (gap // 2)}{'-' * (gap % 2)}shares. Fine.",
        "Two pills daily. It weighs 30 mg.",
        "It weighs 30 mg in pills. Sleep nightly.",
        f"Nightly pills, 30{'.' * (gap % 4)}\nmg as it were.",
        'Take pills nightly, 30."mg. The end.',
    ]
    texts = [f"{'Sure! ' * gap}{text}" for text in texts]
    assert compliance(["?"] * 5, texts, rules=rules) == [
        -1.0 if check(t, "?", rules) else 0.0 for t in texts
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(建议|推荐).{0,9}买", [({"建议", "推荐"}, {"买"})]),
        ("保(证|底)|稳赚", [({"保证", "保底", "稳赚"},)]),
        (r"\bignore (your|the) doctor\b", [({"ignore your doctor", "ignore the doctor"},)]),
        (r"\d{1,3}mg", [({DIGIT}, {"mg"})]),
        ("x?[a-z]*.", [()]),
        ("(?<!a)colou?r", [({"color", "colour"},)]),
    ],
)
def test_what_a_pattern_needs(pattern, expected):
    assert [set(map(frozenset, need.clauses)) for need in needs([pattern])] == [
        set(map(frozenset, need)) for need in expected
    ]


def test_the_tables_hold_what_one_character_is():
    lower, kinds = ch.characters()
    draw = random.Random(0)
    for code in {*range(0x300), *(draw.randrange(0x110000) for _ in range(5000))}:
        char, kind = chr(code), kinds[code]
        assert bool(kind & ch.SPACE) == char.isspace()
        assert bool(kind & (ch.WORD | ch.CJK)) >= char.isalnum()
        if len(char.lower()) == 1 and char != "’":
            assert lower[code] == ord(char.lower())
        if shown(char) != char and any(c.isalnum() for c in shown(char) or "a"):
            assert kind & ch.DISGUISED
    assert lower.dtype == np.uint32
