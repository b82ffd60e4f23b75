import math

import pytest

from rewards import Component, count_tokens
from rlhf.evaluation.metrics import measure_texts
from rlhf.sampling import Completion, Prompt

REWARDS = """
def capricious(prompts, completions, **columns):
    return [float("nan") if "x" in c[0]["content"] else 1.0 for c in completions]

def knows_reference(prompts, completions, *, scale: float = 1.0, reference, **columns):
    return [None if r is None else scale * len(r) for r in reference]

def forbids_cats(prompts, completions, **columns):
    return [-1.0 if "cat" in c[0]["content"] else 0.0 for c in completions]
"""


def ask(text, style=None):
    return Prompt(({"role": "user", "content": text},), style)


def said(text, finish="stop"):
    return Completion(text, (), finish)


@pytest.fixture
def base(tmp_path):
    (tmp_path / "mine.py").write_text(REWARDS)
    return tmp_path


def test_every_metric_of_a_row_and_its_mean(base):
    table = measure_texts(
        [ask("头痛怎么办？", "caring"), ask("Where is it?"), ask("Hello")],
        [said("多喝水。多喝水。"), said("It left on Monday.", "length"), said("")],
        references=["多喝水。", "It left Monday.", None],
        rewards=[
            Component(name="style"),
            Component(name="mine.py:knows_reference", weight=0.5, params={"scale": 2.0}),
        ],
        base=base,
    )
    first, second, third = table.rows
    assert first["length"] == count_tokens("多喝水。多喝水。") > 0
    assert first["repetition"] == pytest.approx(0.5)
    assert [r["finished"] for r in table.rows] == [1.0, 0.0, 1.0]
    assert [r["compliance"] for r in table.rows] == [1.0, 1.0, 1.0]
    assert [r["reward/knows_reference"] for r in table.rows] == [8.0, 30.0, None]
    assert [r["reward/style"] is None for r in table.rows] == [False, True, True]
    assert first["total"] == pytest.approx(first["reward/style"] + 4.0)
    assert second["total"] == 15.0 and third["total"] is None
    assert third["bleu"] is None and "rouge1" not in third
    means = table.means
    assert means["finished"].mean == pytest.approx(2 / 3) and means["finished"].n == 3
    assert means["rougeL"].n == 2 and means["bleu_zh"].n == means["bleu_en"].n == 1
    assert means["reward/knows_reference"].mean == 19.0
    assert table.invalid == {}


def test_a_failed_score_is_counted_and_never_zero(base):
    table = measure_texts(
        [ask("?")] * 3,
        [said("fine"), said("xx"), said("good")],
        rewards=[Component(name="mine.py:capricious")],
        base=base,
    )
    assert [r["reward/capricious"] for r in table.rows] == [1.0, None, 1.0]
    assert table.invalid == {"reward/capricious": 1, "total": 1}
    assert table.means["reward/capricious"].mean == table.means["total"].mean == 1.0
    assert all(v is None or math.isfinite(v) for row in table.rows for v in row.values())


def test_compliance_knows_the_shipped_rules_and_every_veto(base):
    texts = ["这只股票稳赚不赔！", "A cat sat.", "多喝水。"]
    veto = Component(name="mine.py:forbids_cats", veto=True)
    plain = measure_texts([ask("?")] * 3, [said(t) for t in texts])
    strict = measure_texts([ask("?")] * 3, [said(t) for t in texts], rewards=[veto], base=base)
    assert [r["compliance"] for r in plain.rows] == [0.0, 1.0, 1.0]
    assert [r["compliance"] for r in strict.rows] == [0.0, 0.0, 1.0]


def test_a_veto_that_fails_leaves_compliance_unknown(base):
    veto = Component(name="mine.py:capricious", veto=True)
    table = measure_texts([ask("?")] * 2, [said("x"), said("ok")], rewards=[veto], base=base)
    assert [r["compliance"] for r in table.rows] == [None, 1.0]


def test_conversations_count_once():
    answers = [said("one two"), said("one two"), said("one two three four")]
    single = measure_texts([ask("?")] * 3, answers).means["length"]
    grouped = measure_texts([ask("?")] * 3, answers, groups=["a", "a", "b"]).means["length"]
    assert (single.n, grouped.n) == (3, 2)
    two, four = count_tokens("one two"), count_tokens("one two three four")
    assert grouped.mean == pytest.approx((two + four) / 2)
    assert single.mean == pytest.approx((two + two + four) / 3)
