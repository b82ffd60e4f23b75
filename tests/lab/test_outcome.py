from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from rlhf.evaluation.estimate import Estimate
from rlhf.lab.outcome import Outcome, Verdict, front, gains_by_mix, kendall_tau


def outcome(name: str, gain: float, kl: float, verdict: Verdict = "kept") -> Outcome:
    told = {"yardstick": Estimate(gain, None, None, 1)}
    return Outcome(name, name[0], Estimate(kl, None, None, 1), told, {"nll": verdict})


def test_the_front_is_what_nothing_beats() -> None:
    outcomes = [
        outcome("a1", 1.0, 2.0),
        outcome("a2", 0.9, 2.5),  # farther for less
        outcome("b1", 0.5, 0.5),
        outcome("b2", 3.0, 1.0, "broken"),  # good, but not to be had
        outcome("c1", 1.5, 9.0, "unsure"),
        outcome("c2", -0.2, 0.1),
    ]
    assert front(outcomes) == ["c2", "b1", "a1", "c1"]
    assert gains_by_mix(outcomes) == pytest.approx({"a": 0.95, "b": 1.75, "c": 0.65})


def test_tau_is_scipys() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        a, b = draw.integers(0, 4, size=(2, 6)).astype(float)
        names = [str(i) for i in range(6)]
        ours = kendall_tau(dict(zip(names, a, strict=True)), dict(zip(names, b, strict=True)))
        assert ours == pytest.approx(kendalltau(a, b).statistic)
    assert kendall_tau({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 2.0}) is None
    assert kendall_tau({"a": 1.0}, {"a": 1.0, "b": 2.0}) is None
