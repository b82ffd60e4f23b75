import math
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rewards import BadParameter, Component, RewardSet, TooManyInvalid, combine, summarise

BASE = Path(__file__).parent
FILE = "user_rewards.py"
ANSWERS = ["aa", "bbbb", "cccccc", "bad"]
PROMPTS = ["?"] * 4


def run(*components, answers=ANSWERS, **settings):
    parts = [Component(**{"weight": 1.0, **component}) for component in components]
    return combine(parts, ["?"] * len(answers), answers, base=BASE, **settings)


def good(**settings):
    return {"name": f"{FILE}:good", **settings}


def test_the_weighted_sum_of_what_applies():
    rows = run(good(weight=0.5), {"name": f"{FILE}:mixed", "weight": 2}, max_invalid=0.25)
    assert [row.total for row in rows] == [0.5 * 2 + 2, 0.5 * 4, None, 0.5 * 3]
    assert [row.scores[1].status for row in rows] == ["ok", "none", "invalid", "ok"]
    assert rows[2].invalid and rows[2].scores[1].raw is None


def test_mean_divides_by_the_weights_that_applied():
    mixed = {"name": f"{FILE}:mixed", "weight": -2}
    rows = run(good(weight=0.5), mixed, normalise="mean", max_invalid=0.25)
    assert [row.total for row in rows] == pytest.approx([(1 - 2) / 2.5, 4, None, 1.5 / 2.5])


def test_zscore_standardises_each_component_over_the_rows_that_stay():
    bad = {"name": f"{FILE}:one_bad", "weight": 3}
    rows = run(good(), bad, normalise="zscore", max_invalid=0.25)
    x = [2, 4, 6]
    z = [(v - fmean(x)) / pstdev(x) for v in x]
    assert [row.total for row in rows[:3]] == pytest.approx([4 * v for v in z])
    assert rows[3].total is None


def test_zscore_is_safe_without_variance():
    assert [r.total for r in run(good(), answers=["ab"] * 3, normalise="zscore")] == [0.0] * 3
    assert [r.total for r in run(good(), answers=["ab"], normalise="zscore")] == [0.0]


@given(st.lists(st.text("a", max_size=30), min_size=1, max_size=8))
def test_zscore_totals_have_mean_zero(answers):
    totals = [row.total for row in run(good(), answers=answers, normalise="zscore")]
    assert fmean(totals) == pytest.approx(0, abs=1e-9) and all(map(math.isfinite, totals))


def test_nothing_applies():
    (row,) = run({"name": "style"}, answers=["x"])
    assert row.total is None and not row.invalid


@pytest.mark.parametrize("normalise", ["sum", "mean", "zscore"])
def test_a_veto_overrides_the_sum_and_is_no_term_of_it(normalise):
    gate = {"name": f"{FILE}:veto_short", "veto": True, "weight": 100}
    settings = {"normalise": normalise, "answers": ["x", "long enough"]}
    rows = run(good(weight=3), gate, veto_score=-7, **settings)
    (plain, passed) = run(good(weight=3), **settings)
    assert (rows[0].total, rows[0].vetoed) == (-7, True)
    assert (rows[1].total, rows[1].vetoed) == (passed.total, False) != (plain.total, False)


def test_a_veto_is_as_the_reward_declares_unless_the_component_says():
    answers = ["这只股票稳赚不赔！"]
    assert run({"name": "compliance"}, answers=answers)[0].vetoed
    term = run({"name": "compliance", "veto": False, "weight": 0.5}, answers=answers)[0]
    assert (term.total, term.vetoed) == (-0.5, False)
    assert run({"name": "compliance"}, answers=["多喝水。"])[0].total == 0.0


def test_an_invalid_veto_lets_nothing_pass():
    (row,) = run(good(), {"name": f"{FILE}:nan", "veto": True}, answers=["fine"], max_invalid=1.0)
    assert row.total is None and row.invalid and not row.vetoed


def test_too_many_invalid_rows_fail_the_batch():
    with pytest.raises(TooManyInvalid) as raised:
        run(good(), {"name": f"{FILE}:raises"})
    error = raised.value
    assert (error.component, error.count, error.rows) == ("raises", 4, 4)
    assert str(error) == (
        "reward 'raises': 4 of 4 rows have an invalid score; first: ValueError: cannot read aa"
    )
    assert run({"name": f"{FILE}:one_bad"}, max_invalid=0.25)[3].invalid
    with pytest.raises(TooManyInvalid):
        run({"name": f"{FILE}:one_bad"}, max_invalid=0.24)


def test_a_component_with_a_time_out_runs_apart():
    rows = run({"name": f"{FILE}:hangs", "timeout_s": 0.3}, answers=["hang"], max_invalid=1)
    assert rows[0].scores[0].reason == "timed out after 0.3 s"
    apart = run({"name": f"{FILE}:dies", "process": True}, answers=["die"], max_invalid=1)
    assert apart[0].scores[0].status == "invalid"


def test_labels_tell_components_of_one_reward_apart():
    rows = run(good(), good(params={"scale": 2}), good(label="tenfold", params={"scale": 10}))
    assert [(s.name, s.raw) for s in rows[0].scores] == [
        ("good", 2),
        ("good_2", 4),
        ("tenfold", 20),
    ]
    with pytest.raises(BadParameter, match="label 'x'"):
        run(good(label="x"), good(label="x"))
    with pytest.raises(ValidationError, match="choose another label"):
        Component(name="length", label="total")


def test_mistakes_are_found_before_the_first_batch():
    with pytest.raises(BadParameter, match="did you mean 'high'"):
        RewardSet([Component(name="length", params={"hgih": 3})])
    with pytest.raises(BadParameter, match="column 'style' has 1 values for 4 rows"):
        run(good(), columns={"style": ["formal"]})
    with pytest.raises(BadParameter, match="can't be called 'prompts'"):
        run(good(), columns={"prompts": PROMPTS})
    with pytest.raises(BadParameter, match="4 prompts but 1 completions"):
        combine([Component(name="length")], PROMPTS, ["x"])
    with pytest.raises(ValidationError):
        Component(name="length", weight=math.nan)


def test_an_empty_batch_and_an_empty_set():
    assert run(good(), answers=[]) == []
    assert run(answers=["x"])[0].total is None
    assert summarise([]) == {}


def test_summarise():
    gate = {"name": f"{FILE}:veto_short", "veto": True}
    rows = run(good(), {"name": f"{FILE}:mixed"}, gate, max_invalid=0.25)
    assert summarise(rows) == pytest.approx(
        {
            "reward/good": (2 + 4 + 6 + 3) / 4,
            "reward/good/applies": 1.0,
            "reward/good/invalid": 0.0,
            "reward/mixed": 0.5,
            "reward/mixed/applies": 0.5,
            "reward/mixed/invalid": 0.25,
            "reward/veto_short": (-1 + 15) / 4,
            "reward/veto_short/applies": 1.0,
            "reward/veto_short/invalid": 0.0,
            "reward/total": (-1 + 4 + 3) / 3,
            "reward/vetoed": 0.25,
            "reward/invalid": 0.25,
        }
    )
    dead = run({"name": f"{FILE}:nan"}, max_invalid=1)
    assert "reward/nan" not in summarise(dead) and "reward/total" not in summarise(dead)


@pytest.mark.parametrize(
    "curve", [[[0, 0]], [[0, 0], [0, 1]], [[0, 1], [1, 0]], [[0, 0], [1, float("nan")]]]
)
def test_a_curve_that_is_none_is_refused(curve):
    with pytest.raises(ValidationError, match="curve"):
        Component(name="length", curve=curve)


def test_a_score_goes_through_its_curve():
    straight, bent = (
        combine([Component(name="length", curve=curve)], ["?"] * 2, ["Yes.", ""])
        for curve in (None, [[0, 1], [0.01, 3]])
    )
    assert straight[1].total == 0
    assert [row.total for row in bent] == [3.0, 1.0]
