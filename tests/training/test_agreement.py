from __future__ import annotations

from pathlib import Path

import pytest
from examples_of import pair, vote

from rlhf.evaluation.agreement import agreements
from rlhf.models import ModelSettings
from rlhf.policies import Policy
from rlhf.runs import open_run
from rlhf.training.dpo import dpo_rows, train_dpo
from rlhf.training.kto import kto_rows, train_kto
from rlhf.training.settings import DpoSettings, KtoSettings
from rlhf.training.stage import StageInputs

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def test_a_policy_agrees_with_the_votes_that_it_learned(
    settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    pairs = [pair(n) for n in range(16)]
    votes = [vote(n) for n in range(12)]
    common = {"tracking": "none", "epochs": 6, "learning_rate": 1e-2}
    inputs = StageInputs(settings, sft_policy, dpo_rows(pairs), [], {})
    run = open_run(tmp_path, "dpo", {}, {})
    learned = train_dpo(run, DpoSettings(**common), inputs)
    found = agreements(settings, sft_policy, learned, pairs)
    assert sum(a.outcome for a in found) / len(found) > 0.8
    assert [a.conversation for a in found] == [r.conversation for r in pairs]
    inputs = StageInputs(settings, sft_policy, kto_rows(votes, 0), [], {})
    run = open_run(tmp_path, "kto", {}, {})
    learned = train_kto(run, KtoSettings(**common), inputs)
    found = agreements(settings, sft_policy, learned, votes)
    assert sum(a.outcome for a in found) / len(found) > 0.6


def test_a_policy_that_did_not_move_sees_no_difference(
    settings: ModelSettings, sft_policy: Policy
) -> None:
    found = agreements(settings, sft_policy, sft_policy, [pair(1), vote(1), vote(2)])
    assert [a.outcome for a in found] == [0.5, 0.5, 0.5]
    assert agreements(settings, sft_policy, sft_policy, []) == []
