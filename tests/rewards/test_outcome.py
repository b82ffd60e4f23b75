import numpy as np
import pytest
import torch

from rewards.running.outcome import Outcome, describe, read_scores


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (0.5, 0.5), (True, 1.0), (np.float32(0.5), 0.5), (torch.tensor(0.25), 0.25)],
)
def test_numbers_of_every_kind(value, number):
    assert read_scores([value], 1) == [Outcome(number, "ok")]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 1e39, "0.5", [1.0], 1j, object()]
)
def test_what_is_no_number_is_invalid_and_never_zero(value):
    (outcome,) = read_scores([value], 1)
    assert outcome.status == "invalid" and outcome.value is None and outcome.reason


def test_none_means_does_not_apply():
    assert read_scores([None], 1) == [Outcome(None, "none")]


@pytest.mark.parametrize("returned", [None, 0.5, "ab", {"a": 1, "b": 2}, [1.0], [1.0] * 3])
def test_a_wrong_shape_makes_every_row_invalid(returned):
    assert [o.status for o in read_scores(returned, 2)] == ["invalid", "invalid"]


def test_an_array_or_an_endless_generator_is_read_safely():
    assert [o.value for o in read_scores(np.array([1.0, 2.0]), 2)] == [1.0, 2.0]
    endless = (1.0 for _ in iter(int, 1))
    assert read_scores(endless, 2)[0].reason == "returned more than 2 scores for 2 rows"


@pytest.mark.parametrize(
    "error",
    [
        KeyError("张三"),
        ValueError("could not read 张三的电话是13812345678"),
        ValueError('bad value "张三" given'),
    ],
)
def test_a_reason_never_quotes_the_rows(error):
    reason = describe(error, [{"content": "我叫张三的电话是13812345678"}], {"names": ["张三"]})
    assert "13812345678" not in reason
    assert "张三" not in reason
    assert reason.startswith(type(error).__name__)


def test_a_reason_keeps_its_own_words():
    assert describe(ZeroDivisionError("division by zero"), ["hi"]) == (
        "ZeroDivisionError: division by zero"
    )
