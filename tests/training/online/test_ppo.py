"""The loop as a whole: it begins where theory says, counts failures, and stops when it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from letters import QUIET, REWARDS, loop_of, ppo, train

from rewards import Component
from rlhf.data.records import Record
from rlhf.errors import StepFailed, UsageError
from rlhf.models import ModelSettings
from rlhf.policies import Policy, base_policy, read_policy, verify_policy
from rlhf.runs import open_run
from rlhf.sampling import Sampling
from rlhf.scoring import lend, open_reward_model, reward_model_at
from rlhf.training.online.experience import Answered, Experience, experience
from rlhf.training.online.settings import AlarmSettings, KlSettings
from rlhf.training.online.tally import Tally
from rlhf.training.online.update import token_losses
from rlhf.training.ppo import Clock, Loop
from rlhf.training.reward_model import reward_rows, train_reward_model
from rlhf.training.settings import RewardModelSettings
from rlhf.training.stage import StageInputs

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

STAGES = ["ppo", "rloo", "grpo", "reinforce++"]


@pytest.fixture(scope="module")
def moved(letters: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy that is not its base."""
    return train(letters, tmp_path_factory.mktemp("moved"), ppo(updates=6))[1]


def first_batch(loop: Loop) -> Experience:
    return loop.gather(0, Tally(), Clock())[1]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
@pytest.mark.parametrize("starts_from", ["base", "policy"])
def test_begins_at_ratio_one_and_kl_zero(
    stage: str, temperature: float, starts_from: str, letters: ModelSettings, moved: Policy
) -> None:
    sampling = Sampling(max_new_tokens=6, temperature=temperature)
    settings = ppo(stage=stage, sampling=sampling, tokens_at_once=40)
    loop = loop_of(letters, settings, None if starts_from == "base" else moved)
    batch = first_batch(loop)
    assert batch.mask.sum() > 30
    assert float((batch.old - batch.reference).abs().max()) == 0.0
    every = range(len(batch.groups))
    with loop.backbone.engine.on():
        _, k3 = token_losses(loop.backbone, settings, batch, every, 0.05, Tally())
    assert float(k3.abs().max()) < 1e-8  # half the squared logarithm of the ratio
    answers = [(g.prompt, c) for g in batch.groups for c in g.completions]
    for row, (prompt, answer) in enumerate(answers):
        alone = by_its_own_forward(loop, prompt, answer, temperature)
        ratios = (alone - batch.old[row][: len(answer)]).exp()
        assert float((ratios - 1).abs().max()) < 1e-4


def by_its_own_forward(
    loop: Loop, prompt: list[int], answer: list[int], temperature: float
) -> torch.Tensor:
    """log p of the tokens by what the sampler drew them from."""
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = loop.backbone.model(input_ids=ids).logits[0] / temperature
    at = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
    return logits.log_softmax(-1)[at, torch.tensor(answer)]


def test_the_reference_is_the_start_and_not_the_base(letters: ModelSettings, moved: Policy) -> None:
    loop = loop_of(letters, ppo(), moved)
    batch = first_batch(loop)
    with loop.backbone.model.disable_adapter(), loop.backbone.engine.on(), torch.no_grad():
        base = loop.backbone.engine.score(batch.groups).logprobs
    assert float((base - batch.reference[batch.mask]).abs().max()) > 0.05
    loop.round(0)
    again = Answered(batch.groups, batch.places, torch.zeros(len(batch.mask)))
    after = experience(loop.backbone, loop.settings, again, 0.05, loop.reduce, Tally())
    assert torch.equal(after.reference, batch.reference)  # training does not move it
    assert float((after.old - batch.old).abs().max()) > 1e-3


def test_one_base_in_memory_for_policy_reference_value_and_reward_model(
    letters: ModelSettings, moved: Policy, tmp_path: Path
) -> None:
    learned = learned_reward(letters, moved, tmp_path)
    component = Component(name="reward_model", params={"path": str(learned.folder)})
    loop = loop_of(letters, ppo([component]), moved)
    weight = loop.backbone.model.get_base_model().get_input_embeddings().weight
    alone = open_reward_model(letters, learned)
    with lend(letters, loop.backbone.model):
        figures, _ = loop.round(0)
        lent = reward_model_at(learned.folder)
    assert lent.engine.causal.get_input_embeddings().weight is weight
    prompt, texts = [{"role": "user", "content": "ab"}], ["abc", "hhh", ""]
    expected = alone.scores([prompt] * 3, texts)  # type: ignore[list-item]
    assert lent.scores([prompt] * 3, texts) == pytest.approx(expected, abs=1e-5)  # type: ignore[list-item]
    assert len(set(expected)) == 3 and figures["reward/reward_model/invalid"] == 0
    assert loop.backbone.model.active_adapters == ["default"]
    trained = {n for n, p in loop.backbone.model.named_parameters() if p.requires_grad}
    assert trained and all(".default." in name for name in trained)


def learned_reward(letters: ModelSettings, start: Policy, folder: Path) -> Policy:
    """A reward model that likes what begins with an a."""
    asked = ({"role": "user", "content": "ab"},)
    pairs = [Record("preference", asked, chosen="a" + c, rejected=c + "h") for c in "bcdefg"]
    run = open_run(folder, "reward_model", {}, {})
    settings = RewardModelSettings(epochs=8, learning_rate=1e-2, tracking="none")
    inputs = StageInputs(letters, start, reward_rows(pairs), [], {"parent": start.id})
    return train_reward_model(run, settings, inputs)


def test_leaves_a_policy_figures_and_samples(letters: ModelSettings, tmp_path: Path) -> None:
    run, policy = train(letters, tmp_path, ppo(held_out_every=2))
    verify_policy(policy)
    assert policy.kind == "lora" and run.finished()
    rows = run.metrics()
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[0]["kl"] == 0 and rows[2]["kl"] != 0
    told = {"reward/total", "reward/share_of_a", "kl", "entropy", "clip_fraction", "approx_kl"}
    told |= {"explained_variance", "length", "finished", "kl_coefficient", "value_loss"}
    told |= {f"tokens_per_second/{p}" for p in ("rollout", "reward", "experience", "update")}
    assert told <= rows[0].keys()
    assert "held_out/total" in rows[0] and "held_out/total" not in rows[1]
    assert {"reward/total", "held_out/total"} <= policy.manifest["metrics"].keys()
    samples = [json.loads(x) for x in (run.folder / "samples.jsonl").read_text().splitlines()]
    assert {s["update"] for s in samples} == {1, 2, 3}
    assert samples[0]["total"] == pytest.approx(samples[0]["answer"].count("a") / 6)
    assert not list(run.folder.glob("checkpoint-*"))


def test_the_same_settings_learn_the_same_bytes(letters: ModelSettings, tmp_path: Path) -> None:
    ids = {train(letters, tmp_path / str(n), ppo())[1].id for n in range(2)}
    assert len(ids) == 1
    assert train(letters, tmp_path / "other", ppo(seed=1))[1].id not in ids


def test_parts_of_a_batch_change_nothing(letters: ModelSettings, tmp_path: Path) -> None:
    """`tokens_at_once` is for memory; what is learned is the same up to rounding."""
    weights = []
    for size in (20, 4096):
        loop = loop_of(letters, ppo(tokens_at_once=size))
        loop.round(0)
        weights.append(torch.cat([p.detach().flatten() for p in loop.backbone.trained().values()]))
    assert float((weights[0] - weights[1]).norm() / weights[1].norm()) < 1e-5


# Rewards that fail


FAILURES = {
    "raises": "ZeroDivisionError",
    "hangs": "timed out after 2 s",
    "returns_nan": "score is nan",
    "returns_infinity": "score is inf",
    "returns_texts": "score is a str, not a number",
    "returns_too_few": "returned 11 scores for 12 rows",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_reward_that_fails_ends_the_run_by_name(
    failure: str, letters: ModelSettings, tmp_path: Path
) -> None:
    settings = ppo(failure, reward_timeout_s=2.0 if failure == "hangs" else 60.0)
    with pytest.raises(StepFailed, match=FAILURES[failure]) as raised:
        train(letters, tmp_path, settings)
    assert "\n" not in str(raised.value)


def test_a_reward_that_never_applies_ends_the_run(letters: ModelSettings, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="none applies"):
        train(letters, tmp_path, ppo("returns_none"))


@pytest.mark.parametrize("stage", STAGES)
def test_answers_without_a_valid_reward_are_left_out_and_counted(
    stage: str, letters: ModelSettings
) -> None:
    loop = loop_of(letters, ppo("fails_on_some", stage=stage))
    answers, batch = loop.gather(0, Tally(), Clock())
    assert len(answers) == len(batch.mask) == 11
    assert sum(len(g.completions) for g in batch.groups) == 11
    figures, _ = loop.round(0)
    assert figures["reward/invalid"] == pytest.approx(1 / 12)
    assert figures["reward/fails_on_some/invalid"] == pytest.approx(1 / 12)


def test_too_many_failures_are_an_alarm(letters: ModelSettings, tmp_path: Path) -> None:
    alarms = QUIET.model_copy(update={"invalid": 0.05})
    with pytest.raises(StepFailed, match=r"alarm in round 1, invalid: 8% .*score is nan"):
        train(letters, tmp_path, ppo("fails_on_some", alarms=alarms))


# Alarms


@pytest.mark.parametrize("seed", [42, pytest.param(7, marks=pytest.mark.slow)])
def test_a_reward_for_length_alone_trips_before_the_length_doubles(
    seed: int, letters: ModelSettings, tmp_path: Path
) -> None:
    settings = ppo(
        "how_long",
        updates=60,
        prompts=16,
        samples=8,
        sampling=Sampling(max_new_tokens=60),
        alarms=AlarmSettings(),
        kl=KlSettings(coefficient=0.0),
        learning_rate=1e-3,
        seed=seed,
        save_every=2,
    )
    with pytest.raises(StepFailed, match=r"alarm in round \d+, \w+") as raised:
        train(letters, tmp_path, settings)
    (run,) = tmp_path.glob("ppo-*")
    lengths = [json.loads(x)["length"] for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert lengths[-1] < 2 * lengths[0]
    last_good = Path(str(raised.value).partition("last good: ")[2].partition(";")[0])
    verify_policy(read_policy(last_good))


def test_a_reward_stuck_on_half_of_the_answers_trips(
    letters: ModelSettings, tmp_path: Path
) -> None:
    settings = ppo("stuck_on_half", updates=20, alarms=AlarmSettings())
    with pytest.raises(StepFailed, match="constant: stuck_on_half gives 50%"):
        train(letters, tmp_path, settings)
    (run,) = tmp_path.glob("ppo-*")
    assert len((run / "metrics.jsonl").read_text().splitlines()) <= 3


def test_a_sound_reward_trips_nothing(letters: ModelSettings, tmp_path: Path) -> None:
    settings = ppo("first_is_a", updates=12, prompts=8, samples=4, alarms=AlarmSettings())
    run, _ = train(letters, tmp_path, settings)
    rewards = [row["reward/total"] for row in run.metrics()]
    assert rewards[-1] > rewards[0]


# Refusals


def test_a_policy_without_a_lora_is_refused(letters: ModelSettings, tmp_path: Path) -> None:
    full = base_policy(letters.base_model)
    full = Policy("0" * 16, "full", full.base_model, tmp_path, {})
    with pytest.raises(UsageError, match="trains a LoRA"):
        train(letters, tmp_path, ppo(), full)


def test_a_reward_file_that_was_edited_is_another_run(
    letters: ModelSettings, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    text = REWARDS.read_text(encoding="utf-8")
    ids = []
    for more in ("", "\n# other\n"):
        path.write_text(text + more, encoding="utf-8")
        settings = ppo([Component(name=f"{path}:share_of_a")], updates=1)
        ids.append(train(letters, tmp_path / "runs", settings)[0].id)
    assert ids[0] != ids[1]
