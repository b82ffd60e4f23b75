"""The loop with stages that learn from rewards, a model of the votes among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from feedback_store import Store
from rlhf.errors import UsageError
from rlhf.lineage import ancestry
from rlhf.rounds import run_loop
from rlhf.train import parse_train_config, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ONLINE: dict[str, Any] = {
    "stage": "ppo",
    "rewards": [{"name": "length", "params": {"low": 1, "high": 30}}],
    "updates": 2,
    "prompts": 4,
    "samples": 3,
    "sampling": {"max_new_tokens": 8},
    "tracking": "none",
}
LENIENT = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.05}}


def test_dpo_then_ppo_on_rewards_and_a_model_of_the_votes(config: Any, workspace: Path) -> None:
    dpo = {"stage": "dpo", "learning_rate": 1e-2, "tracking": "none"}
    learned = {"epochs": 1, "learning_rate": 1e-2, "tracking": "none"}
    settings = config(
        stages=[dpo, ONLINE], reward_model=learned, reward_model_weight=0.5, gate=LENIENT
    )
    (outcome,) = run_loop(settings, workspace)
    with Store.open(settings.store) as store:
        line = [str(p.run).partition("-")[0] for p in ancestry(store, outcome.candidate)]
    assert line == ["ppo", "dpo", "sft"]
    (model_of_votes,) = settings.runs.glob("reward_model-*")
    (run,) = settings.runs.glob("ppo-*")
    used = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["rewards"]
    assert [r["name"] for r in used] == ["length", "reward_model"]
    assert used[1]["weight"] == 0.5
    assert Path(used[1]["params"]["path"]) == model_of_votes / "adapter"
    html = outcome.report.read_text(encoding="utf-8")
    assert "reward/reward_model" in html


@pytest.mark.parametrize("stage", ["rloo", "grpo", "reinforce++"])
def test_other_estimators_are_stages_too(stage: str, config: Any, workspace: Path) -> None:
    settings = config(stages=[{**ONLINE, "stage": stage}], gate=LENIENT)
    (outcome,) = run_loop(settings, workspace)
    with Store.open(settings.store) as store:
        newest = ancestry(store, outcome.candidate)[0]
    assert str(newest.run).startswith(stage.replace("++", "_pp"))


def test_a_stage_without_any_reward_is_refused(config: Any) -> None:
    with pytest.raises(UsageError, match="ppo needs `rewards`, or set `reward_model`"):
        config(stages=[{**ONLINE, "rewards": []}])


def test_alone_on_prompts_without_answers(tiny_model: Path, workspace: Path) -> None:
    lines = [f'{{"prompt": "User: tell me about item {n}"}}\n' for n in range(30)]
    (workspace / "asked.jsonl").write_text("".join(lines), encoding="utf-8")
    values = {
        **ONLINE,
        "base_model": str(tiny_model),
        "dtype": "float32",
        "data": {"path": "asked.jsonl", "held_out": 0.4, "style": "concise"},
        "runs": str(workspace / "runs"),
    }
    trained = train(parse_train_config(values, "ppo.yaml"), workspace)
    proof = trained.proof
    assert {"total", "reward/length", "kl", "compliance", "repetition"} <= proof.keys()
    assert proof["total"]["n"] >= 5 and "rise" in proof["total"]
    assert proof["reference_nll"].keys() >= {"before", "after"}
    assert any("reference_nll" in line for line in proof["bounds"])
    html = Path(proof["report"]).read_text(encoding="utf-8")
    assert Path(proof["report"]) == trained.run.folder / "report.html"
    assert "reward/length" in html and "item" in html
    samples = (trained.run.folder / "samples.jsonl").read_text(encoding="utf-8")
    assert '"style": "concise"' in samples
    assert train(parse_train_config(values, "ppo.yaml"), workspace).proof == proof
