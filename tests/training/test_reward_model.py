"""A reward model against TRL's loss and transformers' own forward; saved, refused, named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from examples_of import dialogue, pair
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from trl import RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from rewards import Component, RewardError, combine, resolve
from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError, PolicyError, UsageError
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.packed import Engine
from rlhf.policies import (
    LoraSettings,
    Policy,
    base_policy,
    load_policy,
    read_policy,
    save_policy,
    verify_policy,
)
from rlhf.release import register
from rlhf.reward_model import reward_model
from rlhf.runs import Run, open_run
from rlhf.scoring import (
    RewardModel,
    load_reward_model,
    new_reward_model,
    open_reward_model,
    together,
)
from rlhf.train import parse_train_config, train
from rlhf.training.checkpoints import MarkCheckpoints
from rlhf.training.reward_model import (
    PackedRewardTrainer,
    reward_arguments,
    reward_rows,
    train_reward_model,
)
from rlhf.training.rows import training_rows
from rlhf.training.settings import RewardModelSettings, SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

STILL = LoraSettings(dropout=0.0)
PAIRS = [pair(n) for n in range(24)]
ROWS = reward_rows(PAIRS)


def lively(settings: ModelSettings, seed: int = 3) -> Any:
    """A reward model whose LoRA and head do something, so that every gradient is there."""
    model = new_reward_model(settings, base_policy(settings.base_model), STILL, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "score.modules_to_save" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def assembled(
    kind: type[Any], model: Any, settings: ModelSettings, rows: Sequence[Any], folder: Path
) -> Any:
    stage = RewardModelSettings(tracking="none", centre=0.05)
    arguments = reward_arguments(stage, folder)
    arguments.eval_strategy, arguments.load_best_model_at_end = "no", False
    more = {"tokens_at_once": 90} if kind is PackedRewardTrainer else {}
    return kind(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=load_tokenizer(settings),
        **more,
    )


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    close = [(found[n] - g).norm() <= 1e-3 * g.norm() + 1e-6 for n, g in expected.items()]
    return found.keys() == expected.keys() and all(close)


@pytest.mark.parametrize("margins", [False, True])
def test_loss_and_gradients_are_trls(
    margins: bool, settings: ModelSettings, tmp_path: Path
) -> None:
    rows = [{**row, "margin": 0.2 * n} if margins else row for n, row in enumerate(ROWS[:8])]
    model = lively(settings)
    trl = assembled(RewardTrainer, model, settings, rows, tmp_path)
    collate = DataCollatorForPreference(pad_token_id=trl.processing_class.pad_token_id)
    batch = collate(
        [{k: r[k] for k in r if k.endswith("_ids") or k == "margin"} for r in trl.train_dataset]
    )
    assert ("margin" in batch) and bool(batch["margin"].any()) == margins
    expected = trl.compute_loss(model, batch)
    expected.backward()
    wanted = gradients(model)
    ours = assembled(PackedRewardTrainer, model, settings, rows, tmp_path)
    assert ours.engine.packs
    assert list(ours.train_dataset["chosen_ids"]) == list(trl.train_dataset["chosen_ids"])
    found = ours.training_step(model, {"rows": list(ours.train_dataset)})
    assert float(found) == pytest.approx(float(expected), abs=1e-4)
    assert same(gradients(model), wanted) and any("score" in name for name in wanted)
    for name in ("accuracy", "margin", "mean_reward"):
        theirs = trl._metrics["train"][name]
        assert ours._metrics["train"][name] == pytest.approx(theirs, abs=1e-4)


def test_a_row_counts_by_its_weight(settings: ModelSettings, tmp_path: Path) -> None:
    model = lively(settings)

    def learn(rows: Sequence[Any]) -> tuple[float, dict[str, torch.Tensor]]:
        trainer = assembled(PackedRewardTrainer, model, settings, rows, tmp_path)
        loss = trainer.training_step(model, {"rows": list(trainer.train_dataset)})
        return float(loss), gradients(model)

    loss, wanted = learn(ROWS[:4])
    ignored, found = learn([*ROWS[:4], {**ROWS[4], "weight": 0.0}])
    assert ignored == pytest.approx(loss, abs=1e-5) and same(found, wanted)
    twice, found = learn([{**ROWS[0], "weight": 2.0}, *ROWS[1:4]])
    repeated, wanted = learn([ROWS[0], *ROWS[:4]])
    assert twice == pytest.approx(repeated, abs=1e-5) and same(found, wanted)
    assert twice != pytest.approx(loss, abs=1e-5)


def trained(run: Run, settings: ModelSettings, start: Policy | None = None, **stage: Any) -> Policy:
    stage = {"tracking": "none", "epochs": 6, "batch_size": 4, "learning_rate": 1e-2, **stage}
    held_out = stage.pop("held_out", [])
    inputs = StageInputs(settings, start or base_policy(settings.base_model), ROWS, held_out, {})
    return train_reward_model(run, RewardModelSettings(**stage), inputs)


@pytest.fixture(scope="module")
def learned(settings: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    run = open_run(tmp_path_factory.mktemp("runs"), "reward_model", {}, {})
    policy = trained(run, settings)
    assert run.finished() and not list(run.folder.glob("checkpoint-*"))
    return policy


def texts(records: Sequence[Record]) -> tuple[list[Any], list[str]]:
    prompts = [styled(r.prompt, r.style) for r in records for _ in range(2)]
    return prompts, [str(t) for r in records for t in (r.chosen, r.rejected)]


def test_learns_what_can_be_told_apart(settings: ModelSettings, learned: Policy) -> None:
    model = open_reward_model(settings, learned)
    scores = model.scores(*texts([pair(n) for n in range(100, 140)]))
    right = [a > b for a, b in zip(scores[::2], scores[1::2], strict=True)]
    assert sum(right) >= 36


def test_scores_are_centred_on_the_rows_that_they_were_measured_on(
    settings: ModelSettings, learned: Policy, tmp_path: Path
) -> None:
    scores = open_reward_model(settings, learned).scores(*texts(PAIRS))
    assert sum(scores) / len(scores) == pytest.approx(0.0, abs=1e-4)
    assert abs(float(learned.manifest["centre"])) > 1e-3
    held_out = [pair(n) for n in range(50, 58)]
    run = open_run(tmp_path, "reward_model", {}, {})
    policy = trained(run, settings, epochs=2, held_out=reward_rows(held_out))
    scores = open_reward_model(settings, policy).scores(*texts(held_out))
    assert sum(scores) / len(scores) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_and_loaded_it_gives_the_same_scores_to_the_byte(
    dtype: str, settings: ModelSettings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"dtype": dtype})
    tokenizer = load_tokenizer(settings)
    model = lively(settings).eval()
    engine = Engine(model, head=False)
    scores = RewardModel(engine, engine.causal.score, tokenizer, 0.25).scores
    before = scores(*texts(PAIRS[:6]))
    about = {"centre": 0.25, "dtype": dtype, "quantize": None}
    policy = save_policy(
        model, tokenizer, tmp_path / "r", base_model=settings.base_model, about=about
    )
    assert policy.kind == "reward"
    verify_policy(policy)
    assert open_reward_model(settings, policy).scores(*texts(PAIRS[:6])) == before
    head = load_reward_model(settings, policy).get_base_model().score.weight
    assert head.dtype == torch.float32 and len(set(before)) > 6


def test_damage_is_found(settings: ModelSettings, learned: Policy, tmp_path: Path) -> None:
    assert learned.folder is not None
    folder = tmp_path / "flipped"
    shutil.copytree(learned.folder, folder)
    data = bytearray((folder / "adapter_model.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(PolicyError, match="is not the file that was saved"):
        load_reward_model(settings, read_policy(folder))
    folder = tmp_path / "moved"
    shutil.copytree(learned.folder, folder)
    manifest = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps({**manifest, "centre": 9.0}))
    with pytest.raises(PolicyError, match="manifest was changed"):
        load_reward_model(settings, read_policy(folder))


@pytest.mark.parametrize("packs", [True, False])
def test_scores_are_those_of_a_padded_forward(
    packs: bool, settings: ModelSettings, learned: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = open_reward_model(settings, learned)
    monkeypatch.setattr(scorer.engine, "packs", packs and scorer.engine.packs)
    assert scorer.engine.packs == packs
    prompts, answers = texts(PAIRS[:10])
    prompts = [styled(p, "caring" if n % 3 else None) for n, p in enumerate(prompts)]
    batch = scorer.tokenizer.apply_chat_template(
        [[*p, {"role": "assistant", "content": a}] for p, a in zip(prompts, answers, strict=True)],
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    model = load_reward_model(settings, learned)
    model.config.pad_token_id = scorer.tokenizer.pad_token_id
    with torch.no_grad():
        expected = model(**batch).logits.squeeze(-1) - scorer.centre
    assert scorer.scores(prompts, answers) == pytest.approx(expected.tolist(), abs=1e-4)


def test_rows_share_their_beginning_and_keep_a_token_each() -> None:
    group = together([[1, 2, 3, 4], [1, 2, 5]])
    assert (group.prompt, group.completions) == ([1, 2], [[3, 4], [5]])
    group = together([[1, 2, 3], [1, 2], [1, 2, 3]])
    assert (group.prompt, group.completions) == ([1], [[2, 3], [2], [2, 3]])
    assert together([[1, 2, 3]]).completions == [[3]]


# Named as a reward


def test_named_in_a_configuration_it_scores(
    settings: ModelSettings, learned: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learned.folder is not None
    assert resolve("reward_model").source == "rlhf.reward_model:reward_model"
    part = Component(name="reward_model", weight=2.0, params={"path": learned.folder.name})
    prompts, answers = texts(PAIRS[:4])
    styles = [None, "caring"] * 4
    completions = [[{"role": "assistant", "content": a}] for a in answers]
    base = learned.folder.parent
    rows = combine([part], prompts, completions, columns={"style": styles}, base=base)
    asked = [styled(p, style) for p, style in zip(prompts, styles, strict=True)]
    expected = open_reward_model(settings, learned).scores(asked, answers)
    assert [row.total for row in rows] == [2.0 * score for score in expected]
    with monkeypatch.context() as patch:
        patch.setattr("rlhf.scoring.load_reward_model", None)  # it is in memory by now
        score = reward_model(learned.folder)
    plain = [p[-1]["content"] for p in prompts]
    assert score(plain, answers) == score(prompts, completions) != score(asked, completions)
    assert score(asked, answers) == expected
    assert score([], []) == []


@pytest.mark.slow
def test_it_scores_in_a_process_of_its_own(learned: Policy) -> None:
    prompts, answers = texts(PAIRS[:3])
    params = {"path": str(learned.folder)}
    here, apart = (
        combine([Component(name="reward_model", params=params, process=own)], prompts, answers)
        for own in (False, True)
    )
    assert [r.total for r in apart] == pytest.approx([r.total for r in here], abs=1e-5)


def test_a_wrong_path_is_one_line(sft_policy: Policy, tmp_path: Path) -> None:
    def fails(told: str, **params: Any) -> None:
        with pytest.raises(RewardError, match=told) as error:
            combine([Component(name="reward_model", params=params)], ["?"], ["!"])
        assert "\n" not in str(error.value)

    fails("needs the parameter 'path'")
    fails(r"nowhere: is not a policy's folder \(no policy.json\)", path="nowhere")
    fails("is no reward model .* train one with `stage: reward_model`", path=str(sft_policy.folder))


# Where it starts, and what it is not


def test_it_goes_on_from_a_policys_adapter(
    settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    assert sft_policy.folder is not None
    given = load_file(sft_policy.folder / "adapter_model.safetensors")
    model = new_reward_model(settings, sft_policy, LoraSettings(r=3), 1)
    mine = get_peft_model_state_dict(model)
    assert all(mine[name].equal(value) for name, value in given.items())
    assert mine.keys() - given.keys() == {"base_model.model.score.weight"}
    assert all(
        p.requires_grad == ("lora" in n or "modules_to_save" in n)
        for n, p in model.named_parameters()
    )
    run = open_run(tmp_path, "reward_model", {}, {})
    policy = trained(run, settings, sft_policy, epochs=1)
    further = trained(open_run(tmp_path, "reward_model", {"n": 2}, {}), settings, policy, epochs=1)
    assert further.kind == "reward" and further.id != policy.id


def test_a_policy_with_all_weights_moved_is_refused(
    settings: ModelSettings, tmp_path: Path
) -> None:
    rows = sft_rows([dialogue(n) for n in range(4)])
    stage = SftSettings(tracking="none", epochs=1, lora=None)
    inputs = StageInputs(settings, base_policy(settings.base_model), rows, [], {})
    full = train_sft(open_run(tmp_path, "sft", {}, {}), stage, inputs)
    with pytest.raises(UsageError, match="start from the base or from a policy with a LoRA"):
        new_reward_model(settings, full, STILL, 1)


def test_it_answers_nothing_and_is_never_released(settings: ModelSettings, learned: Policy) -> None:
    with pytest.raises(PolicyError, match=r"is a reward model: .*name: reward_model"):
        load_policy(settings, learned)
    register(None, learned)  # type: ignore[arg-type]  # the store is not touched


# The stage


class Killed(BaseException):
    """Stands for a kill in the same process."""


def test_a_resumed_stage_ends_with_the_same_bytes(
    settings: ModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage: dict[str, Any] = {"epochs": 3, "held_out": ROWS[:4], "patience": 50}
    whole = trained(open_run(tmp_path / "whole", "reward_model", {}, {}), settings, **stage)
    run = open_run(tmp_path / "cut", "reward_model", {}, {})
    mark = MarkCheckpoints.on_save

    def die(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        mark(self, args, state, control, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MarkCheckpoints, "on_save", die)
        with pytest.raises(Killed):
            trained(run, settings, **stage)
    assert trained(run, settings, **stage).id == whole.id


def test_rows_that_are_too_long_are_left_out_and_told(
    settings: ModelSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def learn(n: int, rows: Sequence[Any], held_out: Sequence[Any]) -> None:
        inputs = StageInputs(settings, base_policy(settings.base_model), rows, held_out, {})
        stage = RewardModelSettings(tracking="none", max_length=100)
        train_reward_model(open_run(tmp_path, "reward_model", {"n": n}, {}), stage, inputs)

    long = {**ROWS[0], "rejected": [{"role": "assistant", "content": "on and on " * 20}]}
    learn(1, [*ROWS[:4], long], ROWS[4:6])
    assert "left out 1 rows longer than 100 tokens" in capsys.readouterr().err
    with pytest.raises(DataError, match="all 1 rows are longer than 100 tokens; raise"):
        learn(2, [long], [])
    with pytest.raises(DataError, match="all 1 validation rows are longer"):
        learn(3, ROWS[:4], [long])


def test_rows_without_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="reward_model: needs pairs"):
        training_rows(RewardModelSettings(), [dialogue(1)])


def test_trained_alone_it_is_proved_on_held_out_pairs(here: Path, settings: ModelSettings) -> None:
    rows = [
        {"prompt": f"User: {r.prompt[0]['content']}", "chosen": r.chosen, "rejected": r.rejected}
        for r in (pair(n) for n in range(40))
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {
        "stage": "reward_model",
        "base_model": settings.base_model,
        "dtype": "float32",
        "data": {"path": "pairs.jsonl", "held_out": 0.3},
        "tracking": "none",
        "learning_rate": 1e-2,
        "epochs": 6,
    }
    result = train(parse_train_config(values, "reward.yaml"), here)
    proof = result.proof["preference_accuracy"]
    assert proof["low"] < proof["rate"] <= proof["high"] and proof["rate"] > 0.8
    assert result.policy.kind == "reward"
    with pytest.raises(UsageError, match="`lora`"):
        parse_train_config({**values, "lora": None}, "reward.yaml")
