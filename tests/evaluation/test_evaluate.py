import math

import pytest

from rlhf.evaluation.evaluate import Case, EvaluationSettings, Sample, Side, measure
from rlhf.evaluation.gate import GateSettings, decide
from rlhf.evaluation.judges import StoredVerdicts
from rlhf.evaluation.likelihood import Perplexity, kl_to_reference
from rlhf.evaluation.measurements import Measurements, SideMeasures
from rlhf.sampling import Completion, Prompt

SETTINGS = EvaluationSettings.model_validate(
    {
        "rewards": [{"name": "length", "params": {"low": 2, "high": 12}}],
        "judge": {"kind": "reward", "rewards": [{"name": "repetition"}], "simulated": True},
        "sampling": {"max_new_tokens": 8},
    }
)
GOOD, BAD = "请多喝水，注意休息。", "多喝水。多喝水。多喝水。"


def said(text):
    return Completion(text, (1,), "stop")


def cases(n):
    return [
        Case(
            Prompt(({"role": "user", "content": f"问题{i}"},), "caring"),
            reference="请多休息。",
            conversation=f"秘密{i // 2}",
            columns={"intent": "health"},
        )
        for i in range(n)
    ]


def test_texts_become_measurements_and_samples():
    ours, theirs = [said(GOOD)] * 3 + [said(BAD)], [said(BAD)] * 3 + [said(BAD)]
    result = measure(Side("new", ours), Side("old", theirs), cases(4), SETTINGS)
    m = result.measurements
    assert m.outcomes == [1.0, 1.0, 1.0, 0.5] and m.clusters == [0, 0, 1, 1]
    assert (m.prompts, m.conversations, m.simulated, m.no_verdict) == (4, 2, True, 0)
    assert m.win_rate().n == 2 and m.win_rate().rate == pytest.approx(0.875)
    assert m.candidate.policy == "new" and m.candidate.means["rougeL"].n == 2
    differences = m.paired("repetition").differences
    rates = [m.champion.rows[0]["repetition"], m.candidate.rows[0]["repetition"]]
    assert differences.tolist() == pytest.approx([rates[1] - rates[0], (rates[1] - rates[0]) / 2])
    assert [s.verdict for s in result.samples] == ["candidate"] * 3 + ["tie"]
    first = result.samples[0]
    assert (first.candidate, first.champion, first.style) == (GOOD, BAD, "caring")
    assert first.candidate_scores == m.candidate.rows[0]


def test_the_figures_hold_no_words_and_survive_json():
    result = measure(
        Side("new", [said(GOOD)] * 4), Side("old", [said(BAD)] * 4), cases(4), SETTINGS
    )
    text = result.measurements.model_dump_json()
    assert Measurements.model_validate_json(text) == result.measurements
    assert not any(word in text for word in ("秘密", "问题", "喝水"))
    sample = result.samples[0]
    assert Sample.model_validate_json(sample.model_dump_json()) == sample
    settings = GateSettings(min_prompts=1)
    again = decide(Measurements.model_validate_json(text), settings)
    assert again == decide(result.measurements, settings)


def test_likelihoods_join_the_rows():
    import torch

    kl = kl_to_reference([torch.tensor([-1.0]), torch.tensor([-2.0])], [torch.tensor([-1.5])] * 2)
    new = Side("new", [said(GOOD)] * 2, Perplexity(4.0, 3.0, 5.0, 10, (1.5, math.inf)), kl)
    old = Side("old", [said(BAD)] * 2, Perplexity(6.0, 5.0, 7.0, 10, (2.0, 1.0)))
    m = measure(new, old, cases(2), SETTINGS).measurements
    assert [r["nll"] for r in m.candidate.rows] == [1.5, None]
    assert m.candidate.invalid == {"nll": 1}
    assert m.candidate.means["perplexity"].mean == 4.0 and m.candidate.means["nll"].n == 1
    assert [r["kl"] for r in m.candidate.rows] == [0.5, -0.5]
    assert m.candidate.means["kl_per_token"] == kl.per_token
    assert "kl" not in m.champion.rows[0]
    assert m.paired("nll").lost == 1 and m.paired("kl").lost == 2


def test_stored_votes_stand_in_for_the_judge():
    votes = StoredVerdicts((1.0, 0.0, 1.0), ("a", "a", "b"), simulated=1, project="shop")
    sides = Side("new", [said(GOOD)] * 2), Side("old", [said(BAD)] * 2)
    result = measure(*sides, cases(2), SETTINGS, judge=votes)
    m = result.measurements
    assert m.outcomes == [1.0, 0.0, 1.0] and m.win_rate().n == 2 and m.simulated
    assert m.judge == "votes in project shop"
    assert [s.verdict for s in result.samples] == [None, None]
    by_votes = SETTINGS.model_copy(
        update={"judge": EvaluationSettings.model_validate({"judge": {"kind": "votes"}}).judge}
    )
    with pytest.raises(ValueError, match="stored verdicts"):
        measure(*sides, cases(2), by_votes)


def test_pairs_without_a_verdict_are_counted():
    class Silent:
        name, simulated = "silent", False

        def judge(self, prompts, a, b):
            return [None, "b"]

    sides = Side("new", [said(GOOD)] * 2), Side("old", [said(BAD)] * 2)
    m = measure(*sides, cases(2), SETTINGS, judge=Silent()).measurements
    assert m.no_verdict == 1 and m.outcomes == [0.0] and m.outcome_clusters == [0]


def test_unpaired_rows_are_refused():
    side = SideMeasures(policy="p", rows=[{"m": 1.0}])
    with pytest.raises(ValueError, match="1 rows for 2 prompts"):
        Measurements(candidate=side, champion=side, clusters=[0, 1], judge="j")
