"""A stage as users meet it: it learns, goes on after a crash, stops early, refuses by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from examples_of import dialogue, pair, vote
from trl import SFTConfig

from rlhf.errors import DataError, PolicyError, StepFailed, UsageError
from rlhf.models import (
    ModelSettings,
    Policy,
    base_policy,
    load_policy,
    read_policy,
    verify_policy,
)
from rlhf.runs import Run, open_run
from rlhf.training.checkpoints import MarkCheckpoints, last_complete
from rlhf.training.preference import dpo_rows, kto_rows, train_preference
from rlhf.training.settings import DpoSettings, KtoSettings, SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs, library_arguments

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ROWS = sft_rows([dialogue(n) for n in range(16)])


def sft(run: Run, settings: ModelSettings, **stage: Any) -> Policy:
    stage = {"tracking": "none", "epochs": 2, "batch_size": 4, **stage}
    inputs = StageInputs(settings, base_policy(settings.base_model), ROWS[:12], ROWS[12:], {})
    return train_sft(run, SftSettings(**stage), inputs)


def test_defaults_are_the_seed_texts() -> None:
    lora = SftSettings().lora
    assert lora is not None
    assert (lora.r, lora.alpha, lora.dropout) == (16, 32, 0.1)
    assert lora.target_modules == ("q_proj", "v_proj")
    assert SftSettings().patience == 3


def test_sft_lowers_the_loss_and_the_policy_is_named_by_its_bytes(
    settings: ModelSettings, tmp_path: Path
) -> None:
    run = open_run(tmp_path, "sft", {"n": 1}, {})
    policy = sft(run, settings, learning_rate=2e-2)
    losses = [row["eval_loss"] for row in run.metrics() if "eval_loss" in row]
    assert len(losses) == 2 and losses[1] < losses[0]
    again = sft(open_run(tmp_path / "other", "sft", {"n": 1}, {}), settings, learning_rate=2e-2)
    assert again.id == policy.id
    other = sft(open_run(tmp_path, "sft", {"n": 2}, {}), settings, learning_rate=1e-2)
    assert other.id != policy.id
    assert run.finished()
    assert not list(run.folder.glob("checkpoint-*"))


def test_a_finished_run_is_not_trained_again(settings: ModelSettings, tmp_path: Path) -> None:
    run = open_run(tmp_path, "sft", {"n": 1}, {})
    policy = sft(run, settings)
    assert policy.folder is not None
    weights = policy.folder / "adapter_model.safetensors"
    before = weights.stat().st_mtime_ns
    assert sft(run, settings).id == policy.id
    assert weights.stat().st_mtime_ns == before
    (run.folder / "metrics.jsonl").write_text("{}\n")  # damage is noticed, and the run is redone
    assert sft(run, settings).id == policy.id
    assert weights.stat().st_mtime_ns != before


class Killed(BaseException):
    """Stands for a kill in the same process."""


@pytest.mark.parametrize("stage", ["sft", "dpo", "kto"])
def test_a_resumed_stage_ends_with_the_bytes_of_an_undisturbed_one(
    stage: str,
    settings: ModelSettings,
    sft_policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(run: Run) -> Policy:
        common = {"tracking": "none", "epochs": 3, "batch_size": 4, "learning_rate": 1e-2}
        if stage == "sft":
            return sft(run, settings, epochs=3, learning_rate=1e-2)
        if stage == "dpo":
            rows = dpo_rows([pair(n) for n in range(12)])
            inputs = StageInputs(settings, sft_policy, rows[:8], rows[8:], {})
            return train_preference(run, DpoSettings(**common), inputs)
        rows = kto_rows([vote(n) for n in range(12)], 0)
        inputs = StageInputs(settings, sft_policy, rows[:8], rows[8:], {})
        return train_preference(run, KtoSettings(**common), inputs)

    whole = train(open_run(tmp_path / "whole", stage, {}, {}))
    run = open_run(tmp_path / "cut", stage, {}, {})
    saves = []
    mark = MarkCheckpoints.on_save

    def die_after_second(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        mark(self, args, state, control, **more)
        saves.append(state.global_step)
        if len(saves) == 2:
            raise Killed

    monkeypatch.setattr(MarkCheckpoints, "on_save", die_after_second)
    with pytest.raises(Killed):
        train(run)
    monkeypatch.undo()
    newest = last_complete(run.folder)
    assert newest is not None and newest.name == f"checkpoint-{saves[1]}"
    broken = run.folder / "checkpoint-999"  # the newest by number, but never finished
    shutil.copytree(newest, broken)
    (broken / "complete.json").unlink()
    assert train(run).id == whole.id
    steps = [row["step"] for row in run.metrics() if "loss" in row]
    assert steps == sorted(set(steps))


def test_a_checkpoint_with_a_flipped_bit_is_not_trusted(
    settings: ModelSettings, tmp_path: Path
) -> None:
    for step in (5, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights").write_bytes(bytes(100))
        state = type("S", (), {"global_step": step, "is_world_process_zero": True})()
        args = type("A", (), {"output_dir": str(tmp_path)})()
        MarkCheckpoints().on_save(args, state, None)  # type: ignore[arg-type]
    assert last_complete(tmp_path) == tmp_path / "checkpoint-10"
    flip(tmp_path / "checkpoint-10" / "weights")
    assert last_complete(tmp_path) == tmp_path / "checkpoint-5"
    assert not (tmp_path / "checkpoint-10").exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_early_stopping_keeps_the_best_weights(settings: ModelSettings, tmp_path: Path) -> None:
    run = open_run(tmp_path, "sft", {}, {})
    policy = sft(run, settings, epochs=40, learning_rate=0.3, patience=2)
    losses = [row["eval_loss"] for row in run.metrics() if "eval_loss" in row]
    assert len(losses) < 40
    best = losses.index(min(losses))
    assert len(losses) - 1 - best == 2
    assert policy.manifest["metrics"]["eval_loss"] == min(losses)


def test_full_fine_tuning_by_one_setting(settings: ModelSettings, tmp_path: Path) -> None:
    policy = sft(open_run(tmp_path, "sft", {}, {}), settings, lora=None, learning_rate=1e-3)
    assert policy.kind == "full"
    base = load_policy(settings, base_policy(settings.base_model))
    model = load_policy(settings, policy)
    changed = [n for n, p in model.named_parameters() if not p.equal(base.get_parameter(n))]
    assert any("mlp" in name for name in changed)
    rows = dpo_rows([pair(n) for n in range(6)])
    inputs = StageInputs(settings, policy, rows, rows[:2], {})
    stage = DpoSettings(tracking="none", learning_rate=1e-3)
    moved = train_preference(open_run(tmp_path, "dpo", {}, {}), stage, inputs)
    assert moved.kind == "full" and moved.id != policy.id


def test_a_policys_damage_is_found_by_name(sft_policy: Policy, tmp_path: Path) -> None:
    assert sft_policy.folder is not None
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        folder = tmp_path / name
        shutil.copytree(sft_policy.folder, folder)
        verify_policy(read_policy(folder))
        flip(folder / name)
        with pytest.raises(PolicyError, match=f"{name} is not the file that was saved"):
            verify_policy(read_policy(folder))
        (folder / name).unlink()
        with pytest.raises(PolicyError, match=f"{name} is missing"):
            verify_policy(read_policy(folder))
    folder = tmp_path / "manifest"
    shutil.copytree(sft_policy.folder, folder)
    manifest = json.loads((folder / "policy.json").read_text())
    manifest["files"].pop("adapter_config.json")
    (folder / "policy.json").write_text(json.dumps(manifest))
    with pytest.raises(PolicyError, match="manifest was changed"):
        verify_policy(read_policy(folder))


def test_a_loss_that_is_no_number_stops_the_run_and_saves_nothing(
    settings: ModelSettings, tmp_path: Path
) -> None:
    run = open_run(tmp_path, "sft", {}, {})
    with pytest.raises(StepFailed, match="lower learning_rate"):
        sft(run, settings, learning_rate=1e30, trainer={"max_grad_norm": 0.0}, epochs=5)
    assert not (run.folder / "adapter").exists()
    assert run.manifest is None


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        ({"warmup_stesp": 3}, "SFTConfig has no such key; did you mean `warmup_steps`?"),
        ({"seed": 3}, "trainer.seed: is set by `seed` of the stage"),
        ({"lr_scheduler_type": "zigzag"}, "trainer: "),
    ],
)
def test_trainer_keys_are_checked_before_a_model_loads(
    trainer: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        library_arguments(SFTConfig, SftSettings(trainer=trainer), {}, tmp_path)


def test_votes_in_one_direction_are_refused_by_name() -> None:
    liked = [r for n in range(12) if (r := vote(n)).label]
    with pytest.raises(DataError, match=r"dpo: needs pairs .* found 0"):
        dpo_rows(liked)
    with pytest.raises(DataError, match="kto: needs up-votes and down-votes, found 8 and 0"):
        kto_rows(liked, 0)


def test_kto_batches_hold_both_classes() -> None:
    records = [vote(n) for n in range(60)]
    rows = kto_rows(records, seed=1)
    assert rows == kto_rows(records, seed=1) != kto_rows(records, seed=2)
    for start in range(0, 60, 6):
        labels = {row["label"] for row in rows[start : start + 6]}
        assert labels == {True, False}
