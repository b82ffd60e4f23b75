import math
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from pydantic import ValidationError

from rewards import BadParameter, Component, RewardSet, WeightsBy, combine, summarise

BASE = Path(__file__).parent
ANSWERS = ["aa", "bbbb", "cccccc", "d"]
STYLES = ["caring", "正式", "专业且关怀", None]
BY_STYLE = {"column": "style", "weights": {"caring": 1.5, "formal": 0.5, "default": 2.0}}
WEIGHTS = [1.5, 0.5, 1.0, 2.0]


def run(normalise="sum", columns=None, **by):
    varied = {"name": "user_rewards.py:good", "label": "varied", "weights_by": BY_STYLE, **by}
    parts = [varied, {"name": "user_rewards.py:good", "label": "plain", "weight": 0.5}]
    columns = {"style": STYLES} if columns is None else columns
    return combine(
        [Component(**part) for part in parts],
        ["?"] * 4,
        ANSWERS,
        columns=columns,
        base=BASE,
        normalise=normalise,
    )


def test_each_rows_weight_is_in_its_score_and_in_the_sum():
    rows = run()
    assert [row.scores[0].weight for row in rows] == WEIGHTS
    assert [row.total for row in rows] == pytest.approx(
        [len(a) * (w + 0.5) for a, w in zip(ANSWERS, WEIGHTS, strict=True)]
    )


def test_the_mean_divides_by_the_rows_own_weights():
    totals = [row.total for row in run("mean")]
    assert totals == pytest.approx([2, 4, 6, 1])  # equal scores: weights cancel in each row
    rows = run("mean", weights_by={"column": "style", "weights": {"caring": -1.5, "default": 0}})
    assert rows[0].total == pytest.approx((-1.5 * 2 + 0.5 * 2) / 2)


def test_zscore_is_over_the_batch_and_weighted_by_row():
    x = [len(a) for a in ANSWERS]
    z = [(v - fmean(x)) / pstdev(x) for v in x]
    assert [row.total for row in run("zscore")] == pytest.approx(
        [(w + 0.5) * v for w, v in zip(WEIGHTS, z, strict=True)]
    )


def test_other_columns_match_whole_values_and_default_to_the_components_weight():
    by = {"column": "mood", "weights": {"Upset": 3.0}}
    rows = run(columns={"mood": ["upset ", "calm", None, 7]}, weights_by=by, weight=0.25)
    assert [row.scores[0].weight for row in rows] == [3.0, 0.25, 0.25, 0.25]


def test_the_mean_weight_is_logged_where_rows_differ():
    figures = summarise(run())
    assert figures["reward/varied/weight"] == fmean(WEIGHTS)
    assert "reward/plain/weight" not in figures


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ({"column": "style", "weights": {"carring": 1}}, "did you mean 'caring'"),
        ({"column": "mood", "weights": {"sad": math.inf}}, "'sad' is inf"),
        ({"column": "mood", "weights": {}}, "at least 1"),
        ({"column": "", "weights": {"sad": 1}}, "at least 1"),
        ({"column": "mood", "weight": {"sad": 1}}, "Extra inputs"),
    ],
)
def test_mistakes_are_refused(by, message):
    with pytest.raises(ValidationError, match=message):
        WeightsBy.model_validate(by)


def test_a_set_tells_one_weight_a_component():
    by = WeightsBy.model_validate(BY_STYLE)
    with RewardSet([Component(name="length", weights_by=by), Component(name="style")]) as rewards:
        assert rewards.weights == {"length": pytest.approx(4 / 3), "style": 1.0}


def test_a_missing_column_is_named():
    with pytest.raises(BadParameter, match=r"'varied'.*column 'style'; did you mean 'styles'"):
        run(columns={"styles": STYLES})
