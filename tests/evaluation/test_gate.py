import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rlhf.evaluation.gate import GateSettings, decide, lower_bound
from rlhf.evaluation.measurements import Measurements, SideMeasures
from rlhf.evaluation.winrate import power_for_each, prompts_to_keep, prompts_to_win

SETTINGS = GateSettings.model_validate({"guardrails": [{"metric": "m", "margin": 0.1}]})


def measured(ours, theirs=None, outcomes=None, **changes):
    """Sides with the metric `m` on each prompt, and a clean record."""
    theirs = ours if theirs is None else theirs
    outcomes = [1.0] * len(ours) if outcomes is None else outcomes
    sides = {
        name: SideMeasures(policy=name, rows=[{"m": v, "compliance": 1.0} for v in values])
        for name, values in (("candidate", ours), ("champion", theirs))
    }
    fields = {
        "clusters": list(range(len(ours))),
        "judge": "test",
        "outcomes": outcomes,
        "outcome_clusters": list(range(len(outcomes))),
    }
    return Measurements.model_validate(sides | fields | changes)


def failed(decision):
    return [r.check for r in decision.reasons if not r.passed]


def detail(decision, check):
    return next(r.detail for r in decision.reasons if r.check == check)


def test_a_clear_winner_is_promoted():
    decision = decide(measured([0.5] * 40, outcomes=[1.0] * 32 + [0.0] * 8), SETTINGS)
    assert decision.promote and failed(decision) == []
    assert [r.check for r in decision.reasons] == ["prompts", "win", "m", "compliance"]
    assert "80.0% of 40" in detail(decision, "win") and "50.0%" in detail(decision, "win")
    assert decision.win.wins == 32 and decision.had_prompts == 40


def test_a_win_within_chance_is_refused():
    decision = decide(measured([0.5] * 40, outcomes=[1.0] * 25 + [0.0] * 15), SETTINGS)
    assert not decision.promote and failed(decision) == ["win"]


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_guardrail_that_got_worse_refuses(better):
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=50)
    worse = theirs + (-0.2 if better == "higher" else 0.2) + rng.normal(0, 0.05, size=50)
    rail = {"metric": "m", "margin": 0.1, "better": better}
    settings = GateSettings.model_validate({"guardrails": [rail]})
    assert failed(decide(measured(worse.tolist(), theirs.tolist()), settings)) == ["m"]
    assert decide(measured(theirs.tolist(), worse.tolist()), settings).promote


def test_a_guardrail_that_only_may_have_got_worse_refuses():
    decision = decide(measured([1.0, -1.0] * 20, [0.0] * 40), SETTINGS)
    assert failed(decision) == ["m"]


def test_the_bound_is_student_s_one_sided():
    gains = np.array([0.1, -0.2, 0.3, 0.05, 0.0])
    half = 2.131847 * gains.std(ddof=1) / math.sqrt(5)  # t(0.95, 4)
    assert lower_bound(gains, 0.05) == pytest.approx(gains.mean() - half, abs=1e-6)


def test_a_metric_at_its_margin_passes_as_often_as_alpha_says():
    rng = np.random.default_rng(1)
    passed = [lower_bound(rng.normal(-0.1, 1.0, size=20), 0.05) > -0.1 for _ in range(4000)]
    assert np.mean(passed) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_missing_metric_never_passes(value):
    decision = decide(measured([value] * 40, [0.5] * 40), SETTINGS)
    assert failed(decision) == ["m"] and "one side only" in detail(decision, "m")
    decision = decide(measured([value] * 40), SETTINGS)
    assert failed(decision) == ["m"]


def test_an_unknown_metric_is_named_with_the_known_ones():
    settings = GateSettings.model_validate({"guardrails": [{"metric": "n", "margin": 0.1}]})
    assert "compliance, m" in detail(decide(measured([0.5] * 40), settings), "n")


def test_a_candidate_that_dodges_the_score_is_refused():
    """Answers that cannot be scored must not lift the mean of those that can."""
    ours = [1.0] * 30 + [None] * 10
    decision = decide(measured(ours, [0.5] * 40), SETTINGS)
    assert failed(decision) == ["m"] and "10 of 40" in detail(decision, "m")
    allowed = SETTINGS.model_copy(update={"max_invalid": 0.25})
    assert decide(measured(ours, [0.5] * 40), allowed).promote


def test_failures_counted_elsewhere_refuse_too():
    some = measured([0.5] * 36 + [None] * 4)
    side = some.candidate.model_copy(update={"invalid": {"m": 5}})
    decision = decide(some.model_copy(update={"candidate": side}), SETTINGS)
    assert failed(decision) == ["m"]
    assert any("m on 5" in warning for warning in decision.warnings)


def test_no_verdicts_refuse():
    decision = decide(measured([0.5] * 40, outcomes=[]), SETTINGS)
    assert decision.win is None and failed(decision) == ["win"]
    mostly = measured([0.5] * 40, outcomes=[1.0] * 30, no_verdict=10)
    assert "10 of 40" in detail(decide(mostly, SETTINGS), "win")


def with_compliance(some, ours, theirs):
    sides = {}
    for name, values in (("candidate", ours), ("champion", theirs)):
        side = getattr(some, name)
        rows = [row | {"compliance": v} for row, v in zip(side.rows, values, strict=True)]
        sides[name] = side.model_copy(update={"rows": rows})
    return some.model_copy(update=sides)


def test_one_violation_refuses_and_the_champion_s_are_told():
    clean = measured([0.5] * 40)
    bad = with_compliance(clean, [0.0, 0.0] + [1.0] * 38, [0.0, 1.0] + [1.0] * 37 + [0.0])
    decision = decide(bad, SETTINGS)
    assert failed(decision) == ["compliance"]
    assert detail(decision, "compliance").startswith("2 of 40")
    assert "does on 2, 1 of them the same" in detail(decision, "compliance")
    assert decide(bad, SETTINGS.model_copy(update={"max_violations": 2})).promote


def test_an_answer_that_could_not_be_checked_refuses():
    unknown = with_compliance(measured([0.5] * 40), [None] + [1.0] * 39, [1.0] * 40)
    assert "could not be checked on 1" in detail(decide(unknown, SETTINGS), "compliance")


def test_a_reward_violates_below_zero():
    settings = GateSettings.model_validate({"zero_tolerance": ["m"]})
    assert decide(measured([0.0] * 40), settings).promote
    assert failed(decide(measured([0.0] * 39 + [-1.0]), settings)) == ["m"]


def test_too_few_prompts_refuse_or_warn():
    few = measured([0.5] * 20)
    assert failed(decide(few, SETTINGS)) == ["prompts"]
    warned = decide(few, SETTINGS.model_copy(update={"min_prompts": 10}))
    assert warned.promote and str(warned.needed_prompts) in warned.warnings[0]
    powered = SETTINGS.model_copy(update={"min_prompts": "power"})
    assert failed(decide(few, powered)) == ["prompts"]
    enough = decide(measured([0.5] * warned.needed_prompts), powered)
    assert enough.promote and enough.warnings == ()


def test_needed_prompts_cover_the_win_and_the_widest_guardrail():
    rng = np.random.default_rng(2)
    noisy = measured(rng.normal(size=100).tolist(), rng.normal(size=100).tolist())
    power = power_for_each(0.8, 1)
    sd = noisy.paired("m").differences.std(ddof=1)
    assert decide(noisy, SETTINGS).needed_prompts == prompts_to_keep(0.1, sd, power, 0.05)
    quiet = measured([0.5] * 100)
    assert decide(quiet, SETTINGS).needed_prompts == prompts_to_win(0.1, power, 0.025)


def test_one_conversation_is_one_prompt():
    same = measured([0.5] * 40, clusters=[0] * 40, outcome_clusters=[0] * 40)
    decision = decide(same, SETTINGS)
    assert decision.had_prompts == 1 and set(failed(decision)) == {"prompts", "win", "m"}


def test_simulated_verdicts_are_told():
    decision = decide(measured([0.5] * 40, simulated=True), SETTINGS)
    assert "(simulated)" in detail(decision, "win")
    assert any("simulated" in warning for warning in decision.warnings)


def test_a_joint_release_has_the_power_that_was_asked():
    """A win and three guardrails, each with its share of beta: most good candidates pass."""
    rng = np.random.default_rng(3)
    rails = [{"metric": name, "margin": 0.4} for name in "xyz"]
    settings = GateSettings.model_validate(
        {"guardrails": rails, "effect": 0.15, "zero_tolerance": [], "min_prompts": 1}
    )
    power = power_for_each(0.8, 3)
    n = max(prompts_to_win(0.15, power, 0.025), prompts_to_keep(0.4, math.sqrt(2), power, 0.05))
    promoted = []
    for _ in range(150):
        ours, theirs = rng.normal(size=(2, n, 3))
        sides = {
            name: SideMeasures(policy=name, rows=[dict(zip("xyz", row, strict=True)) for row in x])
            for name, x in (("candidate", ours.tolist()), ("champion", theirs.tolist()))
        }
        outcomes = rng.binomial(1, 0.65, size=n).astype(float).tolist()
        where = list(range(n))
        some = Measurements(
            **sides, clusters=where, judge="j", outcomes=outcomes, outcome_clusters=where
        )
        promoted.append(decide(some, settings).promote)
    assert np.mean(promoted) > 0.72  # 0.8 less three standard errors of 150 trials


@given(
    st.lists(st.floats(-1, 1) | st.none(), min_size=1, max_size=30),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=30),
)
def test_a_decision_survives_json_and_always_gives_reasons(values, outcomes):
    decision = decide(measured(values, outcomes=outcomes), SETTINGS)
    again = type(decision).model_validate_json(decision.model_dump_json())
    assert again == decision
    assert len(decision.lines()) == 4 and all(len(line) < 1000 for line in decision.lines())
    assert decision.promote == all(r.passed for r in decision.reasons)


@given(st.lists(st.floats(-1, 1), min_size=31, max_size=60), st.floats(0, 0.5))
def test_a_better_candidate_is_never_refused_where_a_worse_one_passed(values, lift):
    base = [0.0] * len(values)
    lifted = [v + lift for v in values]
    before, after = (decide(measured(v, base), SETTINGS) for v in (values, lifted))
    assert after.promote or not before.promote


def test_settings_that_contradict_are_refused():
    with pytest.raises(ValidationError, match="effect"):
        GateSettings.model_validate({"effect": 0.1, "win": {"min_rate": 0.65}})
    with pytest.raises(ValidationError, match="margin"):
        GateSettings.model_validate({"guardrails": [{"metric": "m", "margin": 0}]})


def test_a_winner_that_does_not_agree_with_held_out_votes_is_refused():
    settings = GateSettings(
        zero_tolerance=(), min_prompts=5, agreement={"min_rate": 0.5, "confidence": 0.8}
    )
    votes = [1.0] * 26 + [0.0] * 14
    clusters = list(range(40))
    some = measured([0.0] * 100, outcomes=[1.0] * 100)

    def decided(**changes):
        return decide(some.model_copy(update=changes), settings)

    assert decided(agreements=votes, agreement_clusters=clusters).promote
    coin = decided(agreements=[1.0, 0.0] * 20, agreement_clusters=clusters)
    assert failed(coin) == ["agreement"]
    assert "agrees with 50.0% of 40 held-out votes" in detail(coin, "agreement")
    assert failed(decided()) == ["agreement"]  # without one held-out vote
    assert failed(decided(agreements=votes, agreement_clusters=[0] * 40)) == ["agreement"]
