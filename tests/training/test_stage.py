"""A stage as users meet it: it learns, goes on after a crash, stops early, refuses by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from examples_of import dialogue, pair, vote
from safetensors import SafetensorError

from rlhf.errors import DataError, PolicyError, StepFailed, UsageError
from rlhf.models import ModelSettings
from rlhf.policies import Policy, base_policy, load_policy, read_policy, verify_policy
from rlhf.runs import Run, open_run
from rlhf.training.checkpoints import (
    MarkCheckpoints,
    last_complete,
    step_of,
    stopped_early,
)
from rlhf.training.dpo import dpo_arguments, dpo_rows, train_dpo
from rlhf.training.grouping import GroupedByLength
from rlhf.training.kto import kto_rows, train_kto
from rlhf.training.settings import DpoSettings, KtoSettings, SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs, _disk_error, _Watch

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
    (run.folder / "metrics.jsonl").unlink()  # not what the policy is made of
    (run.folder / "manifest.json").unlink()  # killed between the policy and the manifest
    assert sft(run, settings).id == policy.id
    assert run.finished()
    assert weights.stat().st_mtime_ns == before
    flip(weights)  # damage is noticed, and the run is done again
    assert not run.finished()
    assert sft(run, settings).id == policy.id
    assert weights.stat().st_mtime_ns != before


class Killed(BaseException):
    """Stands for a kill in the same process."""


@pytest.fixture
def steps_done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every step that is trained, as it happens."""
    done: list[int] = []
    watch = _Watch.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        done.append(state.global_step)
        watch(self, args, state, control, **more)

    monkeypatch.setattr(_Watch, "on_step_end", on_step_end)
    return done


def die_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process 'die' when the given number of checkpoints are whole."""
    mark = MarkCheckpoints.on_save
    saves: list[int] = []

    def on_save(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        mark(self, args, state, control, **more)
        saves.append(state.global_step)
        if len(saves) == count:
            raise Killed

    monkeypatch.setattr(MarkCheckpoints, "on_save", on_save)


@pytest.mark.parametrize("eval_steps", [None, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "stage", ["sft", *(pytest.param(s, marks=pytest.mark.slow) for s in ("dpo", "kto"))]
)
def test_a_resumed_stage_ends_with_the_bytes_of_an_undisturbed_one(
    stage: str,
    eval_steps: int | None,
    settings: ModelSettings,
    sft_policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps_done: list[int],
) -> None:
    common = {"tracking": "none", "epochs": 3, "batch_size": 4, "learning_rate": 1e-2}
    # With eval_steps 1 the cut lies in the middle of the second epoch.
    common |= {"eval_steps": eval_steps, "patience": 50}

    def train(run: Run) -> Policy:
        if stage == "sft":
            return sft(run, settings, **common)
        if stage == "dpo":
            rows = dpo_rows([pair(n) for n in range(16)])
            inputs = StageInputs(settings, sft_policy, rows[:12], rows[12:], {})
            return train_dpo(run, DpoSettings(**common), inputs)
        rows = kto_rows([vote(n) for n in range(18)], 0)
        inputs = StageInputs(settings, sft_policy, rows[:12], rows[12:], {})
        return train_kto(run, KtoSettings(**common), inputs)

    whole = train(open_run(tmp_path / "whole", stage, {}, {}))
    run = open_run(tmp_path / "cut", stage, {}, {})
    with monkeypatch.context() as patch:
        die_after(2 if eval_steps is None else 5, patch)
        with pytest.raises(Killed):
            train(run)
    newest = last_complete(run.folder)
    assert newest is not None
    broken = run.folder / "checkpoint-999"  # the newest by number, but never finished
    shutil.copytree(newest, broken)
    (broken / "complete.json").unlink()
    steps_done.clear()
    assert train(run).id == whole.id
    assert steps_done and steps_done[0] == step_of(newest) + 1
    steps = [row["step"] for row in run.metrics() if "loss" in row]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_a_stage_killed_after_it_stopped_early_trains_no_further(
    settings: ModelSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps_done: list[int],
) -> None:
    stage = {"epochs": 40, "learning_rate": 0.3, "patience": 1}
    whole = sft(open_run(tmp_path / "whole", "sft", {}, {}), settings, **stage)
    validations = len(set(steps_done)) // 3
    run = open_run(tmp_path / "cut", "sft", {}, {})
    with monkeypatch.context() as patch:
        die_after(validations, patch)
        with pytest.raises(Killed):
            sft(run, settings, **stage)
    newest = last_complete(run.folder)
    assert newest is not None and stopped_early(newest, 1)
    steps_done.clear()
    assert sft(run, settings, **stage).id == whole.id
    assert steps_done == []


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
    moved = train_dpo(open_run(tmp_path, "dpo", {}, {}), stage, inputs)
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
        sft(run, settings, learning_rate=1e38, trainer={"max_grad_norm": 0.0}, epochs=5)
    assert not (run.folder / "adapter").exists()
    assert run.manifest is None


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        ({"precompute_ref_log_probs": False}, "is the stage's own"),
        ({"disable_dropout": False}, "is the stage's own"),
        ({"max_steps": 3}, "set `epochs`"),
        ({"per_device_train_batch_size": 3}, "set `batch_size` of it"),
        ({"warmup_stesp": 3}, "DPOConfig has no such key; did you mean `warmup_steps`?"),
        ({"seed": 3}, "trainer.seed: is the stage's own; set `seed` of it"),
        ({"lr_scheduler_type": "zigzag"}, "trainer: "),
    ],
)
def test_trainer_keys_are_checked_before_a_model_loads(
    trainer: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        dpo_arguments(DpoSettings(trainer=trainer), tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
    ],
)
def test_a_full_disk_is_told_in_one_line(error: Exception, tmp_path: Path) -> None:
    told = _disk_error(open_run(tmp_path, "sft", {}, {}), error)
    assert isinstance(told, StepFailed) and "is the disk full?" in str(told)
    other = RuntimeError("shape mismatch")
    assert _disk_error(open_run(tmp_path, "sft", {}, {}), other) is other


def test_every_row_comes_once_an_epoch_with_its_like() -> None:
    lengths = [n * 7 % 50 for n in range(64)]
    sampler = GroupedByLength(lengths, 4, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(64)) and first == list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    spread = [max(g) - min(g) for g in zip(*[iter([lengths[i] for i in first])] * 4, strict=True)]
    assert sum(spread) / len(spread) < 15


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
